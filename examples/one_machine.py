"""The same as squares.py on one machine alone, without any cluster: only `ray.init` differs.

pip install "ray[default]"
python examples/one_machine.py
"""

import ray


@ray.remote
def square(number):
    return number * number


def main():
    ray.init(address="local", include_dashboard=False)
    print("sum of squares:", sum(ray.get([square.remote(number) for number in range(100)])))
    ray.shutdown()


if __name__ == "__main__":
    main()
