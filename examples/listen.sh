#!/bin/sh
# Print each event of the violin as a line of JSON: sh listen.sh [URL]
# The same with nc: listen_nc.sh. Steps as well: ?kinds=event,step
url=${1:-http://127.0.0.1:8773}
if [ -n "$PLAYSPOT_TOKEN" ]; then  # by standard input: others may see arguments
    printf 'header = "Authorization: Bearer %s"\n' "$PLAYSPOT_TOKEN"
fi | curl --no-buffer --silent --show-error --fail --config - "$url/api/stream?label=violin" |
    sed -u -n 's/^data: //p'
