"""Many agents that wait for work over plain sockets: address, token, how many, seconds of a wait.

Prints a line of JSON when all wait, and one for each answer that holds a job: when it came, and for which run.
"""

import asyncio
import json
import resource
import sys
import time
from typing import Any
from urllib.parse import urlsplit

url, token, count, wait = sys.argv[1], sys.argv[2], int(sys.argv[3]), float(sys.argv[4])
place = urlsplit(url)
waiting = 0


async def agent(number: int) -> None:
    """Asks for work until there is some."""
    global waiting
    question = {
        "queues": ["bench"],
        "agent": f"idle-{number:04}",
        "wait": wait,
        "capacity": {"slots": 1},
        "host": "bench",
    }
    body = json.dumps(question).encode()
    head = f"POST /v1/leases/run HTTP/1.1\r\nHost: {place.netloc}\r\nAuthorization: Bearer {token}\r\n"
    head += f"Content-Type: application/json\r\nAccept: application/json\r\nContent-Length: {len(body)}\r\n\r\n"
    # They come as a fleet does, spread over a while, and so they ask again at different moments.
    await asyncio.sleep(number * min(wait, 20.0) / count)
    reader, writer = await asyncio.open_connection(place.hostname, place.port)
    waiting += 1
    while True:
        writer.write(head.encode() + body)
        said = await reader.readuntil(b"\r\n\r\n")
        at = time.time_ns()
        lines = said.decode("latin-1").lower().split("\r\n")
        size = next(int(line.partition(":")[2]) for line in lines if line.startswith("content-length:"))
        answer: dict[str, Any] = json.loads(await reader.readexactly(size))
        if not lines[0].startswith("http/1.1 200"):
            raise SystemExit(f"an agent was refused: {lines[0]}: {answer}")
        if answer["lease"].get("job"):
            print(json.dumps({"run": answer["lease"]["job"]["subject"], "at": at}), flush=True)
            await asyncio.Event().wait()  # it has work, and does not ask again


async def main() -> None:
    """Starts them, and says when all wait."""
    agents = [asyncio.create_task(agent(number)) for number in range(count)]
    while waiting < count:
        await asyncio.wait(agents, timeout=0.1, return_when=asyncio.FIRST_EXCEPTION)
        for one in agents:
            if one.done():
                one.result()
    await asyncio.sleep(1.0)
    print(json.dumps({"waiting": waiting}), flush=True)
    await asyncio.gather(*agents)


soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
asyncio.run(main())
