package main

import (
	"context"
	"crypto/tls"
	"errors"
	"net/netip"
	"os"
	"time"

	"github.com/keyreeve/keyreeve/internal/api/kmsapi"
	"github.com/keyreeve/keyreeve/internal/audit"
	"github.com/keyreeve/keyreeve/internal/call"
	"github.com/keyreeve/keyreeve/internal/seal"
	"github.com/keyreeve/keyreeve/internal/store"
	"github.com/keyreeve/keyreeve/internal/wire"
)

// benchRecord prepares what `bench compare` measures as the record of a Decrypt:
// it is made, chained and written to a log of its own in parent, one at a time,
// so that no two share a write as they do in a busy server.
func benchRecord(ctx context.Context, parent string) (record, stop func() error, err error) {
	dir, err := os.MkdirTemp(parent, "keyreeve-bench-")
	if err != nil {
		return nil, nil, err
	}
	box, err := seal.Open(ctx, store.NewMem(), seal.Options{Provider: seal.Memory()})
	if err != nil {
		return nil, nil, errors.Join(err, os.RemoveAll(dir))
	}
	log, err := audit.Open(dir, audit.Options{})
	if err != nil {
		return nil, nil, errors.Join(err, os.RemoveAll(dir))
	}
	log.Protect(box)
	const account = "111122223333"
	const key = "arn:aws:kms:us-east-1:" + account + ":key/1234abcd-12ab-34cd-56ef-1234567890ab"
	c := &call.Call{
		ID: "1234abcd-12ab-34cd-56ef-1234567890ab", Time: time.Now(), Region: "us-east-1", Service: kmsapi.SigningName,
		Source: netip.MustParseAddrPort("192.0.2.7:40000"), UserAgent: "aws-sdk-go-v2/1.47.7 ua/2.1 os/linux lang/go#1.26.8 md/GOOS#linux md/GOARCH#amd64 api/kms#1.62.4",
		Host: "127.0.0.1:4599", TLS: call.TLS{Version: tls.VersionTLS13, CipherSuite: tls.TLS_AES_128_GCM_SHA256, Group: uint16(tls.X25519MLKEM768)},
		Operation: &call.Operation{Name: "Decrypt", Service: kmsapi.SigningName, EventSource: "kms.amazonaws.com", ReadOnly: true},
		Caller: &call.Principal{
			Kind: call.User, Account: account, ARN: "arn:aws:iam::" + account + ":user/bench", ID: "AIDAKEYREEVEBENCH0000", Name: "bench", AccessKeyID: "AKIAKEYREEVEBENCH000",
		},
		Parameters: &kmsapi.DecryptInput{EncryptionAlgorithm: "SYMMETRIC_DEFAULT", EncryptionContext: wire.StringMap{{Name: "purpose", Value: "bench"}}},
	}
	c.AddKey(key, account)
	c.AddAdditional("keyMaterialId", "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef")
	record = func() error {
		c.EventID = [16]byte{} // each has its own
		return log.Append(c)
	}
	return record, func() error { return errors.Join(log.Close(), os.RemoveAll(dir)) }, nil
}
