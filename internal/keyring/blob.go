package keyring

// Header is what a ciphertext blob says of itself before anything of it has
// been authenticated.
type Header struct {
	Account    string // owner of the key, 12 digits
	KeyID      string
	MaterialID string // 64 hex digits
}

// Inspect reads the header of a ciphertext blob, or returns
// ErrInvalidCiphertext. Only a Decrypt proves that what it says is true.
func Inspect(blob []byte) (Header, error) { return Header{}, ErrInvalidCiphertext }
