# A new cluster of one node with the test data, then the node.
set -eu
node="cockroach start-single-node --insecure"
if [ ! -d /data/made ]; then
  rm -rf /data/new
  $node --store=/data/new --listen-addr=127.0.0.1:26258 --http-addr=127.0.0.1:8081 &
  sql="cockroach sql --insecure --host=127.0.0.1:26258"
  until $sql --execute='SELECT 1' >/dev/null 2>&1; do
    kill -0 $!
    sleep 0.5
  done
  $sql --file=/start/shop.sql >/dev/null
  # In several transactions: one alone would be too large.
  first=1
  while [ "$first" -le "$ROWS" ]; do
    last=$((first + 9999))
    if [ "$last" -gt "$ROWS" ]; then last=$ROWS; fi
    $sql --database=shop --execute="INSERT INTO sale
      SELECT i, 1 + i % 1000, (i % 10000)::DECIMAL / 100, repeat(md5(i::STRING), 20)
      FROM generate_series($first, $last) AS number (i)" >/dev/null
    first=$((last + 1))
  done
  kill $!
  wait $!
  mv /data/new /data/made
fi
exec $node --store=/data/made --listen-addr=:26257 --http-addr=127.0.0.1:8080
