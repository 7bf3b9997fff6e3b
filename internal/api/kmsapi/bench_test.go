package kmsapi_test

import (
	"context"
	"encoding/base64"
	"testing"

	"github.com/keyreeve/keyreeve/internal/api/kmsapi"
	"github.com/keyreeve/keyreeve/internal/call"
	"github.com/keyreeve/keyreeve/internal/secret"
)

// decryptBody is what an SDK sends to decrypt a data key.
var decryptBody = []byte(`{"CiphertextBlob":"` + base64.StdEncoding.EncodeToString(make([]byte, 168)) +
	`","EncryptionContext":{"purpose":"benchmark"},"KeyId":"` + keyARN + `","EncryptionAlgorithm":"SYMMETRIC_DEFAULT"}`)

var decryptOutput = kmsapi.DecryptOutput{
	KeyID:               keyARN,
	Plaintext:           secret.New(make([]byte, 32)),
	EncryptionAlgorithm: kmsapi.EncryptionAlgorithmSpecSymmetricDefault,
	KeyMaterialID:       "7f4a1e0d7f4a1e0d7f4a1e0d7f4a1e0d7f4a1e0d7f4a1e0d7f4a1e0d7f4a1e0d",
}

func BenchmarkDecodeDecrypt(b *testing.B) {
	b.ReportAllocs()
	for b.Loop() {
		var in kmsapi.DecryptInput
		if err := in.DecodeJSON(decryptBody); err != nil {
			b.Fatal(err)
		}
		if err := in.Validate(); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkEncodeDecrypt(b *testing.B) {
	b.ReportAllocs()
	buffer := make([]byte, 0, 1024)
	for b.Loop() {
		buffer = decryptOutput.AppendJSON(buffer[:0])
	}
}

func BenchmarkInvokeDecrypt(b *testing.B) {
	b.ReportAllocs()
	invoke := decryptOperation().Invoke
	buffer := make([]byte, 0, 1024)
	ctx := context.Background()
	var c call.Call
	for b.Loop() {
		var err error
		if buffer, err = invoke(ctx, &c, decryptBody, buffer[:0]); err != nil {
			b.Fatal(err)
		}
	}
}

func decryptOperation() *call.Operation {
	return kmsapi.Operations(handler{decrypt: func(_ *call.Call, _ *kmsapi.DecryptInput, out *kmsapi.DecryptOutput) error {
		*out = decryptOutput
		return nil
	}})["Decrypt"]
}
