# MariaDB or MySQL: a new data folder with the test data, then the server.
set -eu
if command -v mariadbd >/dev/null; then
  server="mariadbd --no-defaults --skip-name-resolve --skip-log-bin"
  depth=--max-recursive-iterations client=mariadb
else
  # What is its default is a folder that is not there, or that cannot be written.
  server="mysqld --no-defaults --skip-name-resolve --skip-log-bin --mysqlx=OFF --secure-file-priv=NULL"
  depth=--cte-max-recursion-depth client=mysql
fi
if [ ! -d /data/made ]; then
  rm -rf /data/new
  if [ $client = mariadb ]; then
    mariadb-install-db --no-defaults --datadir=/data/new --skip-test-db \
      --auth-root-authentication-method=normal >/dev/null
  else
    $server --initialize-insecure --datadir=/data/new
  fi
  $server --datadir=/data/new --socket=/tmp/new.sock --skip-networking "$depth=$((ROWS + 1000))" &
  client="$client --no-defaults --socket=/tmp/new.sock --user=root"
  until $client --execute='SELECT 1' >/dev/null 2>&1; do
    kill -0 $!
    sleep 0.2
  done
  password="$(sed "s/['\\\\]/\\\\&/g" /secret/password)"
  {
    printf "CREATE USER root@'%%' IDENTIFIED BY '%s';\n" "$password"
    printf "GRANT ALL ON *.* TO root@'%%' WITH GRANT OPTION;\nSET @rows = %s;\n" "$ROWS"
    cat /start/shop.sql
  } | $client
  kill $!
  wait $!
  mv /data/new /data/made
fi
exec $server --datadir=/data/made --socket=/tmp/mysql.sock
