package keyring

import (
	"crypto/aes"
	"crypto/cipher"
	"crypto/rand"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
)

// materialLabel separates material ids from all else that is derived from a
// material.
const materialLabel = "keyreeve material id v1"

// materialID returns the id of a material: the HMAC-SHA-256, in hex, of
//
//	materialLabel ‖ 00 ‖ kind of key id, account, key id as in a blob
//
// under the material (for a private key: under the SHA-256 of its PKCS#8, as
// it is longer than a block). It is deterministic, tells nothing about the
// material, and differs between keys that have the same.
func materialID(account, keyID string, material []byte) (string, error) {
	id, ok := newIdentity(account, keyID, zeroMaterialID)
	if !ok {
		return "", fmt.Errorf("%w: account or key id", ErrParameter)
	}
	s := scratches.Get().(*scratch)
	defer s.free()
	s.buf = append(append(s.buf[:0], materialLabel...), 0)
	s.buf = append(s.buf, id[offKind:offMaterial]...)
	key := material
	if len(key) > 64 {
		key = hashed(&s.key, material)
	}
	var mac [32]byte
	return hex.EncodeToString(appendMAC(mac[:0], HMACSHA256, key, s.buf)), nil
}

const zeroMaterialID = "0000000000000000000000000000000000000000000000000000000000000000"

// sealBlob encrypts plaintext into a ciphertext blob of the material.
func sealBlob(material []byte, id *identity, ec Context, plaintext []byte) ([]byte, error) {
	blob := make([]byte, headerLen, blobOverhead+len(plaintext))
	copy(blob, id[:])
	if _, err := rand.Read(blob[offSalt:offCRC]); err != nil {
		return nil, fmt.Errorf("reading randomness: %w", err)
	}
	putCRC(blob)
	s := scratches.Get().(*scratch)
	defer s.free()
	aead, err := s.messageCipher(material, blob)
	if err != nil {
		return nil, err
	}
	s.buf = appendContext(append(s.buf[:0], blob...), ec)
	return aead.Seal(blob, nil, plaintext, s.buf), nil
}

// openBlob decrypts a ciphertext blob whose header is valid, or returns
// ErrInvalidCiphertext.
func openBlob(material, blob []byte, ec Context) ([]byte, error) {
	s := scratches.Get().(*scratch)
	defer s.free()
	aead, err := s.messageCipher(material, blob[:headerLen])
	if err != nil {
		return nil, err
	}
	s.buf = appendContext(append(s.buf[:0], blob[:headerLen]...), ec)
	plaintext, err := aead.Open(make([]byte, 0, len(blob)-blobOverhead), nil, blob[headerLen:], s.buf)
	if err != nil {
		return nil, ErrInvalidCiphertext
	}
	return plaintext, nil
}

// messageCipher derives the key of a message (SP 800-108r1, KDF in counter
// mode with HMAC-SHA-256; one block) and returns its AES-256-GCM.
func (s *scratch) messageCipher(material, header []byte) (cipher.AEAD, error) {
	s.buf = appendKDFInput(s.buf[:0], header)
	appendMAC(s.key[:0], HMACSHA256, material, s.buf)
	block, err := aes.NewCipher(s.key[:])
	if err != nil {
		return nil, fmt.Errorf("making the message cipher: %w", err)
	}
	aead, err := cipher.NewGCMWithRandomNonce(block)
	if err != nil {
		return nil, fmt.Errorf("making the message cipher: %w", err)
	}
	return aead, nil
}

// hashed puts the SHA-256 of b into buf and returns it.
func hashed(buf *[32]byte, b []byte) []byte {
	*buf = sha256.Sum256(b)
	return buf[:]
}
