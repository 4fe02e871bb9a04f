exec pg_isready --quiet --host=127.0.0.1 --dbname=shop --username=postgres
