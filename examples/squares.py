"""The smallest use of a cluster: one function, called many times, on all nodes.

provision submit inventory.yml --working-dir examples -- python squares.py
"""

import collections
import socket

import ray


@ray.remote
def square(number):
    return number * number, socket.gethostname()


def main():
    ray.init()
    results = ray.get([square.remote(number) for number in range(100)])
    print("sum of squares:", sum(value for value, _ in results))
    for host, calls in sorted(collections.Counter(host for _, host in results).items()):
        print(f"{host}: {calls} calls")


if __name__ == "__main__":
    main()
