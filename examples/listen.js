// Print who plays what: node listen.js [URL]. Node 22; before that also `npm install ws`.
// After a break the server is told how far we were, so that no event is missed.
const WebSocket = globalThis.WebSocket ?? require("ws");
const url = (process.argv[2] ?? "http://127.0.0.1:8773").replace(/^http/, "ws") + "/api/ws";
const token = process.env.PLAYSPOT_TOKEN;
const since = {}; // source to [run, next seq]

function connect() {
  const socket = new WebSocket(url, { headers: token ? { Authorization: `Bearer ${token}` } : {} });
  socket.onopen = () => socket.send(JSON.stringify({ type: "watch", events: true, since }));
  socket.onmessage = ({ data }) => {
    const { type, data: event } = JSON.parse(data);
    if (type !== "event") return;
    since[event.source] = [event.system_id, event.seq + 1];
    console.log(event.source, event.seq, event.type, event.label, event.start_time.toFixed(2));
  };
  socket.onerror = ({ message }) => console.error(message);
  socket.onclose = () => setTimeout(connect, 1000);
}
connect();
