"""One SQL query over data that is spread over the nodes: each answers for its part, and the parts are put together.

The inventory needs `packages: [duckdb]`. Here the parts are made up; with real data a task would say
`read_parquet('/data/part-7.parquet')`.

    provision submit inventory.yml --working-dir examples -- python duckdb_nodes.py
"""

import duckdb
import ray

PARTS = 8
ROWS = 100_000
PART = """
    SELECT station, count(*) AS readings, sum(value) AS total, max(value) AS highest
    FROM (SELECT range % 5 AS station, (range * 7919) % 1000 AS value FROM range({first}, {after}))
    GROUP BY station
"""
WHOLE = """
    SELECT station, sum(readings), round(sum(total) / sum(readings), 3), max(highest)
    FROM parts GROUP BY station ORDER BY station
"""


@ray.remote
def summary(part):
    query = PART.format(first=part * ROWS, after=(part + 1) * ROWS)
    return duckdb.sql(query).fetchall()


def main():
    ray.init()
    rows = [row for part in ray.get([summary.remote(part) for part in range(PARTS)]) for row in part]
    with duckdb.connect() as here:
        here.execute("CREATE TABLE parts (station INTEGER, readings BIGINT, total BIGINT, highest BIGINT)")
        here.executemany("INSERT INTO parts VALUES (?, ?, ?, ?)", rows)
        for station, readings, mean, highest in here.execute(WHOLE).fetchall():
            print(f"station {station}: {readings} readings, mean {mean}, highest {highest}")


if __name__ == "__main__":
    main()
