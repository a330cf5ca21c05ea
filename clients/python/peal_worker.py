# SPDX-License-Identifier: Apache-2.0
"""A worker for jobs of a Peal hub, with the standard library alone: an example to begin with.

    PEAL_URL=http://127.0.0.1:3000 PEAL_KEY=... python3 peal_worker.py email

A job is run at least once: what a handler does must bear being done twice, by the job's id.
"""
import json
import os
import signal
import sys
import time
import urllib.error
import urllib.request

WAIT_S = 20  # of a lease that finds nothing
AGAIN_S = 1  # after a hub that could not be asked


class Lost(Exception):
    """Somebody else has the job by now, or it was dropped: stop working on it."""


class Unknown(Exception):
    """A job that it is of no use to try again."""


class Hub:
    def __init__(self, url, key):
        self.url = url.rstrip("/")
        self.key = key

    def post(self, path, body, timeout=10):
        request = urllib.request.Request(
            self.url + "/api/v1/" + path, data=json.dumps(body).encode(), method="POST",
            headers={"authorization": "Bearer " + self.key, "content-type": "application/json"})
        try:
            with urllib.request.urlopen(request, timeout=timeout) as answer:
                return json.load(answer)
        except urllib.error.HTTPError as error:
            if error.code in (404, 409):
                raise Lost(error.read().decode()) from error
            raise

    def lease(self, queues, worker, wait=WAIT_S):
        body = {"queues": queues, "max": 1, "wait": wait, "worker": worker}
        return self.post("jobs/lease", body, timeout=wait + 10)["jobs"]

    def say(self, job, verb, **body):
        return self.post(f"jobs/{job['id']}/{verb}", {"lease": job["lease"], **body})


# --- what is done: a function for each type of job ---

def add_up(hub, job):
    """{"numbers": [...]} -> {"sum": ...}, with a word of progress for each number."""
    numbers = job["payload"]["numbers"]
    total = 0
    for done, number in enumerate(numbers):
        total += number
        hub.say(job, "progress", percentage=100 * done // len(numbers), stage="adding")
    return {"sum": total}


HANDLERS = {"add_up": add_up}


# --- the loop ---

def work(hub, job):
    try:
        handler = HANDLERS.get(job["type"])
        if handler is None:
            raise Unknown("unknown job type: " + job["type"])
        hub.say(job, "complete", result=handler(hub, job))
    except Lost as lost:
        print("lost", job["id"], lost, file=sys.stderr)
    except (OSError, ValueError) as error:  # the hub is away: the lease ends by itself
        print("failed to say", job["id"], error, file=sys.stderr)
    except Exception as error:  # whatever a handler throws fails the attempt
        hub.say(job, "fail", error=str(error) or type(error).__name__, retry=not isinstance(error, Unknown))


def main(queues):
    hub = Hub(os.environ["PEAL_URL"], os.environ["PEAL_KEY"])
    ending = []
    signal.signal(signal.SIGTERM, lambda *_: ending.append(True))  # the job under way is finished
    while not ending:
        try:
            for job in hub.lease(queues, f"python-{os.getpid()}", wait=2):
                work(hub, job)
        except OSError as error:
            print("the hub is away:", error, file=sys.stderr)
            time.sleep(AGAIN_S)


if __name__ == "__main__":
    main(sys.argv[1:] or ["default"])
