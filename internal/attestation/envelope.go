package attestation

import (
	"crypto/aes"
	"crypto/cipher"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha256"
	"encoding/asn1"
	"fmt"

	"golang.org/x/crypto/cryptobyte"
	cryptobyte_asn1 "golang.org/x/crypto/cryptobyte/asn1"
)

var (
	oidEnvelopedData = asn1.ObjectIdentifier{1, 2, 840, 113549, 1, 7, 3}
	oidData          = asn1.ObjectIdentifier{1, 2, 840, 113549, 1, 7, 1}
	oidOAEP          = asn1.ObjectIdentifier{1, 2, 840, 113549, 1, 1, 7}
	oidMGF1          = asn1.ObjectIdentifier{1, 2, 840, 113549, 1, 1, 8}
	oidSHA256        = asn1.ObjectIdentifier{2, 16, 840, 1, 101, 3, 4, 2, 1}
	oidAES256CBC     = asn1.ObjectIdentifier{2, 16, 840, 1, 101, 3, 4, 1, 42}
)

// contentKeySize is that of AES-256, in bytes.
const contentKeySize = 32

// Envelope encrypts for the document's public key: as a CMS EnvelopedData (RFC
// 5652) for one recipient, with RSAES-OAEP, SHA-256 and MGF1 with SHA-256 for the
// key, and AES-256-CBC for the content.
//
//	ContentInfo                SEQUENCE, of indefinite length
//	  envelopedData            OID
//	  [0]                      of indefinite length
//	    EnvelopedData          SEQUENCE, of indefinite length
//	      version              2
//	      recipientInfos       SET of one
//	        version            2
//	        recipient          [0] subject key id: the SHA-256 of the SubjectPublicKeyInfo
//	        algorithm          RSAES-OAEP and its parameters
//	        encryptedKey       OCTET STRING
//	      encryptedContentInfo SEQUENCE, of indefinite length
//	        data               OID
//	        algorithm          AES-256-CBC and its IV
//	        [0]                of indefinite length
//	          ciphertext       OCTET STRING
//
// The lengths matter: AWS's SDK for enclaves takes no other form than this, which
// AWS KMS makes. Source: cms.c of github.com/aws/aws-nitro-enclaves-sdk-c.
//
// Nothing of plaintext is kept.
func (d *Document) Envelope(plaintext []byte) ([]byte, error) {
	contentKey := make([]byte, contentKeySize)
	defer clear(contentKey)
	if _, err := rand.Read(contentKey); err != nil {
		return nil, fmt.Errorf("making a content key: %w", err)
	}
	iv := make([]byte, aes.BlockSize)
	if _, err := rand.Read(iv); err != nil {
		return nil, fmt.Errorf("making an initialization vector: %w", err)
	}
	encryptedKey, err := rsa.EncryptOAEP(sha256.New(), rand.Reader, d.key, contentKey, nil)
	if err != nil {
		// Only a modulus that is none: who made the document chose it.
		return nil, &Error{"has a public_key that cannot be used", err}
	}
	block, err := aes.NewCipher(contentKey)
	if err != nil {
		return nil, fmt.Errorf("encrypting for a recipient: %w", err)
	}
	pad := aes.BlockSize - len(plaintext)%aes.BlockSize
	content := make([]byte, len(plaintext)+pad)
	for i := copy(content, plaintext); i < len(content); i++ {
		content[i] = byte(pad)
	}
	cipher.NewCBCEncrypter(block, iv).CryptBlocks(content, content)

	b := cryptobyte.NewBuilder(make([]byte, 0, 256+len(encryptedKey)+len(content)))
	open := func(tag cryptobyte_asn1.Tag) { b.AddBytes([]byte{byte(tag), indefinite}) }
	open(cryptobyte_asn1.SEQUENCE)
	b.AddASN1ObjectIdentifier(oidEnvelopedData)
	open(explicit0)
	open(cryptobyte_asn1.SEQUENCE)
	b.AddASN1Uint64(2)
	b.AddASN1(cryptobyte_asn1.SET, func(b *cryptobyte.Builder) {
		b.AddASN1(cryptobyte_asn1.SEQUENCE, func(b *cryptobyte.Builder) {
			b.AddASN1Uint64(2)
			b.AddASN1(cryptobyte_asn1.Tag(0).ContextSpecific(), func(b *cryptobyte.Builder) { b.AddBytes(d.keyID[:]) })
			addOAEP(b)
			b.AddASN1OctetString(encryptedKey)
		})
	})
	open(cryptobyte_asn1.SEQUENCE)
	b.AddASN1ObjectIdentifier(oidData)
	b.AddASN1(cryptobyte_asn1.SEQUENCE, func(b *cryptobyte.Builder) {
		b.AddASN1ObjectIdentifier(oidAES256CBC)
		b.AddASN1OctetString(iv)
	})
	open(explicit0)
	b.AddASN1OctetString(content)
	b.AddBytes(make([]byte, 5*len("\x00\x00"))) // the ends of all that is open
	envelope, err := b.Bytes()
	if err != nil {
		return nil, fmt.Errorf("encoding an envelope: %w", err)
	}
	return envelope, nil
}

const (
	explicit0  = cryptobyte_asn1.Tag(0xa0) // [0], constructed
	indefinite = 0x80                      // in the place of a length
)

// addOAEP adds the algorithm RSAES-OAEP with SHA-256 (RFC 4055, 4.1).
func addOAEP(b *cryptobyte.Builder) {
	sha256 := func(b *cryptobyte.Builder) {
		b.AddASN1(cryptobyte_asn1.SEQUENCE, func(b *cryptobyte.Builder) {
			b.AddASN1ObjectIdentifier(oidSHA256)
			b.AddASN1NULL()
		})
	}
	b.AddASN1(cryptobyte_asn1.SEQUENCE, func(b *cryptobyte.Builder) {
		b.AddASN1ObjectIdentifier(oidOAEP)
		b.AddASN1(cryptobyte_asn1.SEQUENCE, func(b *cryptobyte.Builder) {
			b.AddASN1(explicit0, sha256)
			b.AddASN1(explicit0+1, func(b *cryptobyte.Builder) {
				b.AddASN1(cryptobyte_asn1.SEQUENCE, func(b *cryptobyte.Builder) {
					b.AddASN1ObjectIdentifier(oidMGF1)
					sha256(b)
				})
			})
		})
	})
}
