exec cockroach sql --insecure --execute='SELECT 1'
