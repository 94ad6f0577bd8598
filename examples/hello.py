"""One message: python examples/hello.py smtp://localhost:25"""

import asyncio
import os
import sys

from mailpool import create_transport

URL = sys.argv[1] if len(sys.argv) > 1 else os.environ["MAILPOOL_URL"]


async def main() -> None:
    async with create_transport(URL, pool=True) as transporter:
        result = await transporter.send_mail(
            {"from": "alice@example.com", "to": "bob@example.com", "subject": "Hello", "text": "Hello, Bob."}
        )
        print(result.response)


asyncio.run(main())
