#!/bin/sh
# Print each event as a line of JSON, with nothing but nc: sh listen_nc.sh [HOST] [PORT]
host=${1:-127.0.0.1} port=${2:-8773}
printf 'GET /api/stream HTTP/1.0\r\nHost: %s:%s\r\n\r\n' "$host" "$port" |
    nc "$host" "$port" | sed -u -n 's/^data: //p'
