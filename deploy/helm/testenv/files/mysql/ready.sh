exec "$(command -v mariadb || command -v mysql)" --no-defaults --socket=/tmp/mysql.sock --user=root \
  --execute='SELECT 1'
