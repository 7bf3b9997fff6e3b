// The post-quantum key specs, by the AWS SDK for JavaScript, against an
// implementation of ML-DSA and ML-KEM that shares no code with the server's.
import assert from "node:assert/strict";
import { createHash } from "node:crypto";
import { test } from "node:test";

import * as kms from "@aws-sdk/client-kms";
import { ml_dsa44, ml_dsa65, ml_dsa87 } from "@noble/post-quantum/ml-dsa";
import { ml_kem1024, ml_kem512, ml_kem768 } from "@noble/post-quantum/ml-kem";

const endpoint = process.env.AWS_ENDPOINT_URL;
assert.ok(new URL(endpoint).hostname === "127.0.0.1" || new URL(endpoint).hostname === "localhost", "the endpoint is on this machine");

const client = new kms.KMSClient({ endpoint, maxAttempts: 1 });
const send = (Command, input) => client.send(new Command(input));
const bytes = (text) => new TextEncoder().encode(text);
const shake256 = (...parts) => parts.reduce((hash, part) => hash.update(part), createHash("shake256", { outputLength: 64 })).digest();

// publicKey returns the bytes of a key's public half: they end its encoding.
async function publicKey(KeyId, length) {
  const { PublicKey } = await send(kms.GetPublicKeyCommand, { KeyId });
  return PublicKey.slice(PublicKey.length - length);
}

test("what ML-DSA keys sign is right elsewhere, of messages and of μ", async () => {
  for (const [KeySpec, implementation, length] of [
    ["ML_DSA_44", ml_dsa44, 1312],
    ["ML_DSA_65", ml_dsa65, 1952],
    ["ML_DSA_87", ml_dsa87, 2592],
  ]) {
    const { KeyMetadata: key } = await send(kms.CreateKeyCommand, { KeySpec, KeyUsage: "SIGN_VERIFY" });
    const raw = await publicKey(key.KeyId, length);
    const message = bytes(`signed by ${KeySpec}`);
    // FIPS 204, 6.2, with an empty context.
    const mu = shake256(shake256(raw), Uint8Array.of(0, 0), message);
    for (const input of [
      { Message: message, MessageType: "RAW" },
      { Message: mu, MessageType: "EXTERNAL_MU" },
    ]) {
      const { Signature } = await send(kms.SignCommand, { KeyId: key.KeyId, SigningAlgorithm: "ML_DSA_SHAKE_256", ...input });
      assert.ok(implementation.verify(raw, message, Signature), `${KeySpec}: the signature of ${input.MessageType} holds`);
      assert.ok(!implementation.verify(raw, bytes("another"), Signature), `${KeySpec}: and of nothing else`);
      const { SignatureValid } = await send(kms.VerifyCommand, { KeyId: key.KeyId, SigningAlgorithm: "ML_DSA_SHAKE_256", Message: mu, MessageType: "EXTERNAL_MU", Signature });
      assert.equal(SignatureValid, true);
    }
  }
});

test("secrets that are encapsulated elsewhere for ML-KEM keys come out here", async () => {
  const { KeyMetadata: wrapping } = await send(kms.CreateKeyCommand, {});
  for (const [KeySpec, implementation, length] of [
    ["ML_KEM_512", ml_kem512, 800],
    ["ML_KEM_768", ml_kem768, 1184],
    ["ML_KEM_1024", ml_kem1024, 1568],
  ]) {
    const { KeyMetadata: key } = await send(kms.CreateKeyCommand, { KeySpec, KeyUsage: "ENCAPSULATE_DECAPSULATE" });
    const { cipherText, sharedSecret } = implementation.encapsulate(await publicKey(key.KeyId, length));
    const { SharedSecret } = await send(kms.DecapsulateCommand, { KeyId: key.KeyId, EncapsulationAlgorithm: "ML_KEM", SharedSecretCiphertextBlob: cipherText });
    assert.deepEqual(Buffer.from(SharedSecret), Buffer.from(sharedSecret), `${KeySpec}: the same secret`);

    // The private half of a data key pair ends with its seed.
    const pair = await send(kms.GenerateDataKeyPairCommand, { KeyId: wrapping.KeyId, KeyPairSpec: KeySpec });
    const made = implementation.keygen(pair.PrivateKeyPlaintext.slice(-64));
    assert.deepEqual(Buffer.from(pair.PublicKey.slice(-length)), Buffer.from(made.publicKey), `${KeySpec}: the same public key`);
  }
});
