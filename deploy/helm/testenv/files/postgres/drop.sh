exec psql --host=/tmp --username=postgres --quiet \
  --command='DROP DATABASE IF EXISTS shop WITH (FORCE)'
