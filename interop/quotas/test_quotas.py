"""boto3 against a running keyreeve that throttles: to be run with

    quotas: {requests: true, rates: {CreateKey: 0.001, LookupEvents: 0.001, symmetric: 1}}

Endpoint, credentials, Region and CA come from the environment, as
`keyreeve env` prints them.
"""

import json
import os
import unittest
from urllib.parse import urlsplit

import boto3
import botocore.config
from botocore.exceptions import ClientError

ENDPOINT = os.environ["AWS_ENDPOINT_URL"]
assert urlsplit(ENDPOINT).hostname in ("127.0.0.1", "localhost"), ENDPOINT


def client(service, **retries):
    return boto3.client(
        service,
        endpoint_url=ENDPOINT,
        region_name=os.environ["AWS_REGION"],
        verify=os.environ.get("AWS_CA_BUNDLE"),
        config=botocore.config.Config(retries=retries),
    )


KMS, CLOUDTRAIL = client("kms", max_attempts=0), client("cloudtrail", max_attempts=0)
PATIENT = client("kms", total_max_attempts=20, mode="standard")


class Quotas(unittest.TestCase):
    def throttled(self, message, call, **parameters):
        with self.assertRaises(ClientError) as caught:
            call(**parameters)
        answer = caught.exception.response
        self.assertEqual(answer["Error"]["Code"], "ThrottlingException")
        self.assertEqual(answer["Error"]["Message"], message)
        self.assertEqual(answer["ResponseMetadata"]["HTTPStatusCode"], 400)
        return answer["ResponseMetadata"]["RequestId"]

    def test_throttling(self):
        key = KMS.create_key()["KeyMetadata"]["KeyId"]
        text = "You have exceeded the rate at which you may call KMS. Reduce the frequency of your calls."
        refused = self.throttled(text, KMS.create_key, Description="one too many")
        self.assertEqual([k["KeyId"] for k in KMS.list_keys()["Keys"]], [key])

        # It is on record, and CloudTrail's own quota is another.
        by_name = [{"AttributeKey": "EventName", "AttributeValue": "CreateKey"}]
        events = [json.loads(e["CloudTrailEvent"]) for e in CLOUDTRAIL.lookup_events(LookupAttributes=by_name)["Events"]]
        self.assertEqual([(e["requestID"], e["errorMessage"]) for e in events if e.get("errorCode") == "ThrottlingException"], [(refused, text)])
        self.assertEqual(len(events), 2)
        self.throttled("Rate exceeded", CLOUDTRAIL.lookup_events)

        # A client that waits and tries again gets everything, in the end.
        retries = sum(PATIENT.encrypt(KeyId=key, Plaintext=b"x")["ResponseMetadata"]["RetryAttempts"] for _ in range(4))
        self.assertGreater(retries, 0)


if __name__ == "__main__":
    unittest.main()
