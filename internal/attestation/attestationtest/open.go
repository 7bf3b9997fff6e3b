package attestationtest

import (
	"crypto/aes"
	"crypto/cipher"
	"crypto/rsa"
	"crypto/sha256"
	"errors"
	"strings"

	"golang.org/x/crypto/cryptobyte"
	"golang.org/x/crypto/cryptobyte/asn1"
)

// Open opens an envelope, as strictly as AWS's SDK for enclaves: with lengths
// that are indefinite where it wants them so, and definite elsewhere.
func Open(envelope []byte, key *rsa.PrivateKey) ([]byte, error) {
	const (
		oid           = "\x06\x09"
		envelopedData = oid + "\x2a\x86\x48\x86\xf7\x0d\x01\x07\x03"
		data          = oid + "\x2a\x86\x48\x86\xf7\x0d\x01\x07\x01"
		aes256CBC     = oid + "\x60\x86\x48\x01\x65\x03\x04\x01\x2a"
		two           = "\x02\x01\x02"
		sequence      = "\x30\x80"
		explicit      = "\xa0\x80"
	)
	s := cryptobyte.String(envelope)
	skip := func(want string) bool {
		rest, ok := strings.CutPrefix(string(s), want)
		s = s[len(s)-len(rest):]
		return ok
	}
	var infos, info, id, algorithm, encryptedKey, parameters, iv, content cryptobyte.String
	var version int64
	switch {
	case !skip(sequence + envelopedData + explicit + sequence + two):
		return nil, errors.New("attestationtest: no EnvelopedData of version 2")
	case !s.ReadASN1(&infos, asn1.SET), !infos.ReadASN1(&info, asn1.SEQUENCE), !infos.Empty(), !info.ReadASN1Integer(&version), version != 2:
		return nil, errors.New("attestationtest: no KeyTransRecipientInfo of version 2")
	case !info.ReadASN1(&id, asn1.Tag(0).ContextSpecific()), !info.ReadASN1(&algorithm, asn1.SEQUENCE),
		!info.ReadASN1(&encryptedKey, asn1.OCTET_STRING), !info.Empty():
		return nil, errors.New("attestationtest: no encrypted key")
	case !skip(sequence + data), !s.ReadASN1(&parameters, asn1.SEQUENCE):
		return nil, errors.New("attestationtest: no EncryptedContentInfo")
	}
	rest, ok := strings.CutPrefix(string(parameters), aes256CBC)
	parameters = parameters[len(parameters)-len(rest):]
	switch {
	case !ok, !parameters.ReadASN1(&iv, asn1.OCTET_STRING), !parameters.Empty(), len(iv) != aes.BlockSize:
		return nil, errors.New("attestationtest: no AES-256-CBC")
	case !skip(explicit), !s.ReadASN1(&content, asn1.OCTET_STRING), string(s) != strings.Repeat("\x00", 10):
		return nil, errors.New("attestationtest: no content")
	case len(content) == 0, len(content)%aes.BlockSize != 0:
		return nil, errors.New("attestationtest: no whole blocks")
	}
	contentKey, err := rsa.DecryptOAEP(sha256.New(), nil, key, encryptedKey, nil)
	if err != nil {
		return nil, err
	}
	if len(contentKey) != 32 {
		return nil, errors.New("attestationtest: no key of AES-256")
	}
	block, err := aes.NewCipher(contentKey)
	if err != nil {
		return nil, err
	}
	plaintext := make([]byte, len(content))
	cipher.NewCBCDecrypter(block, iv).CryptBlocks(plaintext, content)
	pad := int(plaintext[len(plaintext)-1])
	if pad < 1 || pad > aes.BlockSize || !strings.HasSuffix(string(plaintext), strings.Repeat(string(rune(pad)), pad)) {
		return nil, errors.New("attestationtest: wrong padding")
	}
	return plaintext[:len(plaintext)-pad], nil
}
