#!/usr/bin/env python
"""Start Prometheus, and Grafana where it is installed, on loopback, with the boards and alerts of this folder; Ctrl-C ends them.

python dashboards/start.py            Prometheus on 9090, Grafana on 3000, data below runs/dashboards
python dashboards/start.py --help
"""

import argparse
import os
import shutil
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

FOLDER = Path(__file__).resolve().parent


def main() -> int:
    """Start what there is and wait for its end; 1 where there is nothing to start, or what was started has ended."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument(
        "--data", type=Path, default=Path("runs/dashboards"), help="folder for what they keep (%(default)s)"
    )
    parser.add_argument("--prometheus-port", type=int, default=9090, help="%(default)s")
    parser.add_argument("--grafana-port", type=int, default=3000, help="%(default)s")
    parser.add_argument(
        "--ray-folder", type=Path, default=Path("/tmp/ray"), help="Ray's temporary folder (%(default)s)"
    )
    asked = parser.parse_args()
    if (prometheus := shutil.which("prometheus")) is None:
        print("Prometheus is not installed: apt-get install prometheus, or https://prometheus.io/download;\n"
              "with Docker both come by: docker compose -f dashboards/compose.yaml up", file=sys.stderr)  # fmt: skip
        return 1
    data = asked.data.resolve()
    try:
        data.mkdir(parents=True, exist_ok=True)
        for flag, port in (("--prometheus-port", asked.prometheus_port), ("--grafana-port", asked.grafana_port)):
            with socket.socket() as free:
                free.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
                try:
                    free.bind(("127.0.0.1", port))
                except (OSError, OverflowError) as error:
                    print(f"{flag} is {port}: {error}; another program has it, choose a free one", file=sys.stderr)
                    return 1
    except OSError as error:
        print(f"--data is {asked.data}: {error}; choose a folder that can be written", file=sys.stderr)
        return 1
    shutil.copy(FOLDER / "prometheus" / "alerts.yml", data)
    configuration = (FOLDER / "prometheus" / "prometheus.yml").read_text().replace("/tmp/ray/", f"{asked.ray_folder}/")
    (data / "prometheus.yml").write_text(configuration)
    address = f"127.0.0.1:{asked.prometheus_port}"
    started = [
        subprocess.Popen([prometheus, f"--config.file={data / 'prometheus.yml'}", f"--web.listen-address={address}",
                          f"--storage.tsdb.path={data / 'prometheus'}", "--log.level=warn"])
    ]  # fmt: skip
    print(f"Prometheus: http://{address}  (alerts: http://{address}/alerts)")
    if (grafana := _grafana()) is None:
        print(
            "Grafana is not installed: import dashboards/grafana/*.json into yours, with this Prometheus as its data source"
        )
    else:
        settings = {
            "GF_SERVER_HTTP_ADDR": "127.0.0.1", "GF_SERVER_HTTP_PORT": str(asked.grafana_port),
            "GF_PATHS_DATA": str(data / "grafana"), "GF_PATHS_PROVISIONING": str(FOLDER / "grafana" / "provisioning"),
            "GF_AUTH_ANONYMOUS_ENABLED": "true", "GF_AUTH_ANONYMOUS_ORG_ROLE": "Viewer", "GF_SECURITY_ALLOW_EMBEDDING": "true",
            "PROMETHEUS_URL": f"http://{address}", "BREAKEVEN_BOARDS": str(FOLDER / "grafana"),
        }  # fmt: skip
        started.append(subprocess.Popen(grafana, env={**os.environ, **settings}))
        print(f"Grafana: http://127.0.0.1:{asked.grafana_port}/dashboards")
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
    try:
        while all(one.poll() is None for one in started):
            time.sleep(0.5)
        print(
            f"{Path(next(str(one.args[0]) for one in started if one.poll() is not None)).name} has ended",
            file=sys.stderr,
        )
        return 1
    except KeyboardInterrupt:
        return 0
    finally:
        for one in started:
            one.terminate()
        for one in started:
            one.wait()


def _grafana() -> list[str] | None:
    """The command that starts Grafana with its own home, None where it is not installed."""
    if path := shutil.which("grafana"):
        command = [path, "server"]
    elif path := shutil.which("grafana-server"):
        command = [path]
    else:
        return None
    home = Path("/usr/share/grafana")
    return [*command, "--homepath", str(home)] if home.is_dir() else command


if __name__ == "__main__":
    sys.exit(main())
