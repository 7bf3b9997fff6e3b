// The AWS SDK for JavaScript against a running keyreeve. Endpoint, credentials
// and Region come from the environment, the CA by NODE_EXTRA_CA_CERTS, all as
// `keyreeve env` prints them.
import assert from "node:assert/strict";
import { createHash, createPublicKey, verify } from "node:crypto";
import { test } from "node:test";

import * as kms from "@aws-sdk/client-kms";

const endpoint = process.env.AWS_ENDPOINT_URL;
assert.ok(new URL(endpoint).hostname === "127.0.0.1" || new URL(endpoint).hostname === "localhost", "the endpoint is on this machine");

const client = new kms.KMSClient({ endpoint, maxAttempts: 1 });
const send = (Command, input) => client.send(new Command(input));
const bytes = (text) => new TextEncoder().encode(text);

// fails asserts that a call is refused with one modelled error.
async function fails(name, Command, input) {
  await assert.rejects(send(Command, input), (err) => {
    assert.equal(err.name, name);
    assert.ok(err.$metadata.requestId, "an error has a request id");
    return true;
  });
}

test("a symmetric key encrypts, decrypts and re-encrypts", async () => {
  const { KeyMetadata: key } = await send(kms.CreateKeyCommand, { Description: "from JavaScript", Tags: [{ TagKey: "suite", TagValue: "js" }] });
  assert.match(key.Arn, /^arn:aws:kms:[a-z0-9-]+:\d{12}:key\/[0-9a-f-]{36}$/);
  assert.equal(key.KeyState, "Enabled");
  assert.ok(Math.abs(Date.now() - key.CreationDate) < 60_000, "the creation date is now");

  const context = { tenant: "a", purpose: "ümläut ✓" };
  const sealed = await send(kms.EncryptCommand, { KeyId: key.KeyId, Plaintext: bytes("hello"), EncryptionContext: context });
  const opened = await send(kms.DecryptCommand, { CiphertextBlob: sealed.CiphertextBlob, EncryptionContext: { purpose: "ümläut ✓", tenant: "a" } });
  assert.equal(new TextDecoder().decode(opened.Plaintext), "hello");
  assert.equal(opened.KeyId, key.Arn);
  assert.match(opened.KeyMaterialId, /^[0-9a-f]{64}$/);

  await fails("InvalidCiphertextException", kms.DecryptCommand, { CiphertextBlob: sealed.CiphertextBlob });
  await fails("InvalidCiphertextException", kms.DecryptCommand, { CiphertextBlob: Uint8Array.of(0xfa), EncryptionContext: context });
  await fails("DryRunOperationException", kms.EncryptCommand, { KeyId: key.KeyId, Plaintext: bytes("x"), DryRun: true });
  await fails("NotFoundException", kms.DescribeKeyCommand, { KeyId: "00000000-0000-4000-8000-000000000000" });
  await fails("ValidationException", kms.EncryptCommand, { KeyId: key.KeyId, Plaintext: new Uint8Array(4097) });

  const again = await send(kms.ReEncryptCommand, { CiphertextBlob: sealed.CiphertextBlob, SourceEncryptionContext: context, DestinationKeyId: key.Arn });
  assert.equal(again.SourceKeyId, key.Arn);
  const reopened = await send(kms.DecryptCommand, { CiphertextBlob: again.CiphertextBlob });
  assert.equal(new TextDecoder().decode(reopened.Plaintext), "hello");

  const dataKey = await send(kms.GenerateDataKeyCommand, { KeyId: key.KeyId, KeySpec: "AES_256" });
  assert.equal(dataKey.Plaintext.length, 32);
  const dataKeyAgain = await send(kms.DecryptCommand, { CiphertextBlob: dataKey.CiphertextBlob, KeyId: key.KeyId });
  assert.deepEqual(dataKeyAgain.Plaintext, dataKey.Plaintext);

  const tags = await send(kms.ListResourceTagsCommand, { KeyId: key.KeyId });
  assert.deepEqual(tags.Tags, [{ TagKey: "suite", TagValue: "js" }]);
});

test("a signing key signs what node's own crypto verifies", async () => {
  for (const [KeySpec, SigningAlgorithm, hash] of [
    ["ECC_NIST_P256", "ECDSA_SHA_256", "sha256"],
    ["ECC_NIST_P384", "ECDSA_SHA_384", "sha384"],
    ["ECC_SECG_P256K1", "ECDSA_SHA_256", "sha256"],
    ["RSA_2048", "RSASSA_PKCS1_V1_5_SHA_512", "sha512"],
  ]) {
    const { KeyMetadata: key } = await send(kms.CreateKeyCommand, { KeySpec, KeyUsage: "SIGN_VERIFY" });
    const message = bytes(`signed by ${KeySpec}`);
    const digest = createHash(hash).update(message).digest();
    const { Signature } = await send(kms.SignCommand, { KeyId: key.KeyId, Message: digest, MessageType: "DIGEST", SigningAlgorithm });
    const { PublicKey } = await send(kms.GetPublicKeyCommand, { KeyId: key.KeyId });
    const publicKey = createPublicKey({ key: Buffer.from(PublicKey), format: "der", type: "spki" });
    assert.ok(verify(hash, message, publicKey, Signature), `${KeySpec}: the signature holds`);

    const verified = await send(kms.VerifyCommand, { KeyId: key.KeyId, Message: message, MessageType: "RAW", Signature, SigningAlgorithm });
    assert.equal(verified.SignatureValid, true);
    await fails("KMSInvalidSignatureException", kms.VerifyCommand, { KeyId: key.KeyId, Message: bytes("another"), Signature, SigningAlgorithm });
  }
});

test("keys and aliases are listed page by page", async () => {
  const made = [];
  for (let i = 0; i < 5; i++) {
    const { KeyMetadata } = await send(kms.CreateKeyCommand, {});
    await send(kms.CreateAliasCommand, { AliasName: `alias/js/${i}`, TargetKeyId: KeyMetadata.KeyId });
    made.push(KeyMetadata.KeyId);
  }
  const listed = [];
  for await (const page of kms.paginateListKeys({ client, pageSize: 2 }, {})) {
    assert.ok(page.Keys.length <= 2);
    listed.push(...page.Keys.map((key) => key.KeyId));
  }
  assert.equal(new Set(listed).size, listed.length, "no key is listed twice");
  for (const id of made) assert.ok(listed.includes(id));

  const aliases = [];
  for await (const page of kms.paginateListAliases({ client, pageSize: 2 }, {})) aliases.push(...page.Aliases.map((alias) => alias.AliasName));
  for (let i = 0; i < 5; i++) assert.ok(aliases.includes(`alias/js/${i}`));

  await fails("AlreadyExistsException", kms.CreateAliasCommand, { AliasName: "alias/js/0", TargetKeyId: made[1] });
  const scheduled = await send(kms.ScheduleKeyDeletionCommand, { KeyId: made[0], PendingWindowInDays: 7 });
  assert.equal(scheduled.KeyState, "PendingDeletion");
  await fails("KMSInvalidStateException", kms.EncryptCommand, { KeyId: "alias/js/0", Plaintext: bytes("x") });
});

test("wrong credentials are refused", async () => {
  const send = (credentials) => new kms.KMSClient({ endpoint, maxAttempts: 1, credentials }).send(new kms.ListKeysCommand({}));
  await assert.rejects(send({ accessKeyId: "AKIAI44QH8DHBEXAMPLE", secretAccessKey: "no" }), { name: "UnrecognizedClientException" });
  await assert.rejects(send({ accessKeyId: process.env.AWS_ACCESS_KEY_ID, secretAccessKey: "no" }), { name: "InvalidSignatureException" });
});
