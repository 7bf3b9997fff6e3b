package keyring

import (
	"crypto/aes"
	"crypto/cipher"
	"crypto/rand"
	"encoding/binary"
	"encoding/hex"
	"fmt"
)

// materialLabel is the key of the HMAC that makes material ids. It is no secret.
const materialLabel = "keyreeve material id v1"

// materialID returns the id of a material: the HMAC-SHA-256, in hex, under
// materialLabel, of
//
//	length, account ‖ length, key id ‖ length, material
//
// in text, text and bytes (for a private key its PKCS#8), lengths in 32 bits.
// It is deterministic, tells nothing about a material that cannot be guessed,
// and differs between keys that have the same. Material is never the key of
// this HMAC: what an HMAC key is good for is just that, and an id is public.
func materialID(account, keyID string, material []byte) (string, error) {
	if _, ok := newIdentity(account, keyID, zeroMaterialID); !ok {
		return "", fmt.Errorf("%w: account or key id", ErrParameter)
	}
	s := scratches.Get().(*scratch)
	defer s.free()
	// Room for all of it, so that growing leaves no copy of the material.
	if need := 3*4 + len(account) + len(keyID) + len(material); cap(s.buf) < need {
		s.buf = make([]byte, 0, need)
	}
	b := binary.BigEndian.AppendUint32(s.buf[:0], uint32(len(account)))
	b = append(b, account...)
	b = binary.BigEndian.AppendUint32(b, uint32(len(keyID)))
	b = append(b, keyID...)
	b = binary.BigEndian.AppendUint32(b, uint32(len(material)))
	b = append(b, material...)
	var mac [32]byte
	return hex.EncodeToString(appendMAC(mac[:0], HMACSHA256, []byte(materialLabel), b)), nil
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
