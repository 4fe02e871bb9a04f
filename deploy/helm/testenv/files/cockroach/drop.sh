exec cockroach sql --insecure --execute='DROP DATABASE IF EXISTS shop CASCADE'
