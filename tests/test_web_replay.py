"""What the web process asks of the publisher: never more at once than is answered."""

import asyncio

import zmq

from playspot.stream.sockets import endpoint, new_run
from playspot.stream.web_replay import AT_ONCE, Replayed, Replays
from playspot.stream.wire import ReplayAnswer, ReplayRequest

N_CLIENTS = 40  # that come back at the same time


def test_many_who_come_back_at_once_are_all_answered() -> None:
    run = new_run()
    with zmq.Context() as context, context.socket(zmq.ROUTER) as router:
        router.setsockopt(zmq.LINGER, 0)
        router.bind(endpoint(run, "replay-hub"))
        replays = Replays(context, run)
        most = 0

        async def answer() -> None:
            nonlocal most
            for _ in range(N_CLIENTS):
                while not router.poll(0):
                    await asyncio.sleep(0.001)
                most = max(most, len(replays._waiting))
                sender, body = router.recv_multipart()
                request = ReplayRequest.model_validate_json(body)
                told = ReplayAnswer(id=request.id, system_id="a", source=request.source)
                router.send_multipart([sender, told.model_dump_json(by_alias=True).encode()])
                while not replays.socket.poll(0):
                    await asyncio.sleep(0.001)
                replays.take(replays.socket.recv_multipart())

        async def work() -> list[Replayed]:
            answering = asyncio.create_task(answer())
            found = await asyncio.gather(*(replays.fetch("stage", 0) for _ in range(N_CLIENTS)))
            await answering
            return found

        try:
            found = asyncio.run(asyncio.wait_for(work(), 10))
        finally:
            replays.socket.close()
        assert len(found) == N_CLIENTS
        assert most <= AT_ONCE
