package seal

import (
	"bytes"
	"context"
	"crypto/subtle"
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"

	"github.com/keyreeve/keyreeve/internal/durable"
	"github.com/keyreeve/keyreeve/internal/hint"
	"github.com/keyreeve/keyreeve/internal/secret"
)

// A key file is text of three lines:
//
//	keyreeve root key v1
//	<base64 of the key, 44 characters>
//	# a comment for people
//
// The last one may be missing.
const (
	keyFileHeader  = "keyreeve root key v1\n"
	keyFileComment = "# Whoever has this file and a copy of the data can read every key. Keep a copy in a safe place: without it nothing can be read.\n"
	maxKeyFile     = 4096
)

// nextSuffix is appended to the name of a key file for one that is not in use yet.
const nextSuffix = ".next"

// KeyFile returns a provider whose root key is in a file of mode 0600 that
// belongs to this process's user. A symbolic or hard link, another kind of
// file, another mode or owner is refused. Beside the file, path+".next" may stand
// while the root key is being changed, or after that went wrong.
func KeyFile(path string) Provider { return &keyFile{path} }

type keyFile struct{ path string }

func (k *keyFile) Kind() string { return KindFile }

// errDamaged: the file is private, but what is in it is no root key.
var errDamaged = errors.New("not a key file, or damaged")

// Create takes up the key file if there is one, so that the operator can bring
// it, and so that a first start that was interrupted can be repeated. A new one
// appears at its place only when it is whole.
func (k *keyFile) Create(context.Context) (secret.Bytes, []byte, error) {
	root, err := readKeyFile(k.path)
	if errors.Is(err, fs.ErrNotExist) {
		root, err = k.create()
	}
	if err != nil {
		return secret.Bytes{}, nil, err
	}
	return root, rootID(root), nil
}

func (k *keyFile) create() (secret.Bytes, error) {
	next := k.path + nextSuffix
	root, err := readKeyFile(next)
	if errors.Is(err, errDamaged) { // a first start was interrupted while it wrote
		if err := os.Remove(next); err != nil {
			return secret.Bytes{}, err
		}
	}
	if errors.Is(err, errDamaged) || errors.Is(err, fs.ErrNotExist) {
		root = randomKey()
		err = k.write(next, root)
	}
	if err == nil {
		err = k.promote()
	}
	if err != nil {
		root.Wipe()
		return secret.Bytes{}, err
	}
	return root, nil
}

// promote puts the next key file in the place of the key file.
func (k *keyFile) promote() error {
	if err := os.Rename(k.path+nextSuffix, k.path); err != nil {
		return fmt.Errorf("putting the key file in its place: %w", err)
	}
	return durable.SyncDir(filepath.Dir(k.path))
}

func (k *keyFile) Renew(_ context.Context, current []byte) (secret.Bytes, []byte, error) {
	have, err := readKeyFile(k.path)
	switch {
	case errors.Is(err, fs.ErrNotExist):
	case err != nil:
		return secret.Bytes{}, nil, err
	default:
		ours := subtle.ConstantTimeCompare(rootID(have), current) == 1
		have.Wipe()
		if !ours {
			return secret.Bytes{}, nil, hint.Add(fmt.Errorf("%w: %s", ErrKeyFileTaken, k.path), "name a file that does not exist")
		}
	}
	if err := os.Remove(k.path + nextSuffix); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return secret.Bytes{}, nil, fmt.Errorf("removing a root key that never came into use: %w", err)
	}
	root := randomKey()
	if err := k.write(k.path+nextSuffix, root); err != nil {
		root.Wipe()
		return secret.Bytes{}, nil, err
	}
	return root, rootID(root), nil
}

func (k *keyFile) Open(_ context.Context, params []byte) (secret.Bytes, error) {
	root, _, err := k.find(params)
	return root, err
}

// find returns the key with these parameters, and the file that it is in.
func (k *keyFile) find(params []byte) (secret.Bytes, string, error) {
	missing := 0
	for _, path := range []string{k.path, k.path + nextSuffix} {
		root, err := readKeyFile(path)
		switch {
		case errors.Is(err, fs.ErrNotExist):
			missing++
			continue
		case err != nil && path != k.path:
			// It may have been cut short while it was written, before anything
			// came to depend on it.
			continue
		case err != nil:
			return secret.Bytes{}, "", err
		}
		if subtle.ConstantTimeCompare(rootID(root), params) == 1 {
			return root, path, nil
		}
		root.Wipe()
	}
	if missing == 2 {
		return secret.Bytes{}, "", hint.Add(fmt.Errorf("%w: %s does not exist", ErrWrongRoot, k.path),
			"bring the key file back to this place; without it the data cannot be read")
	}
	return secret.Bytes{}, "", hint.Add(fmt.Errorf("%w: %s has another one", ErrWrongRoot, k.path),
		"bring the key file that belongs to this data")
}

func (k *keyFile) Settle(params []byte) error {
	root, path, err := k.find(params)
	if err != nil {
		return err
	}
	root.Wipe()
	if path == k.path {
		return nil
	}
	return k.promote()
}

func (k *keyFile) Retire(params []byte) error {
	root, err := readKeyFile(k.path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	old := subtle.ConstantTimeCompare(rootID(root), params) == 1
	root.Wipe()
	if !old {
		return nil // the new one took its place
	}
	if err := os.Remove(k.path); err != nil {
		return err
	}
	return durable.SyncDir(filepath.Dir(k.path))
}

// write makes a new key file, durable when it returns.
func (k *keyFile) write(path string, root secret.Bytes) error {
	text := make([]byte, 0, len(keyFileHeader)+64+len(keyFileComment))
	text = append(text, keyFileHeader...)
	text = base64.StdEncoding.AppendEncode(text, root.Reveal())
	text = append(text, '\n')
	text = append(text, keyFileComment...)
	defer clear(text)
	if err := durable.Create(path, text, 0o600); err != nil {
		return fmt.Errorf("making the key file: %w", err)
	}
	return nil
}

func readKeyFile(path string) (secret.Bytes, error) {
	text, err := readPrivate(path, maxKeyFile)
	if err != nil {
		return secret.Bytes{}, fmt.Errorf("reading the key file: %w", err)
	}
	defer text.Wipe()
	root, ok := parseKeyFile(text.Reveal())
	if !ok {
		return secret.Bytes{}, hint.Add(fmt.Errorf("seal: %s is %w", path, errDamaged),
			"bring back a copy of it; if there is no data yet, remove it and start again")
	}
	return root, nil
}

func parseKeyFile(text []byte) (secret.Bytes, bool) {
	rest, ok := bytes.CutPrefix(text, []byte(keyFileHeader))
	if !ok {
		return secret.Bytes{}, false
	}
	line, rest, ok := bytes.Cut(rest, []byte("\n"))
	if !ok || len(line) != base64.StdEncoding.EncodedLen(rootSize) || len(rest) > 0 && rest[0] != '#' {
		return secret.Bytes{}, false
	}
	root := make([]byte, 0, rootSize+2)
	root, err := base64.StdEncoding.Strict().AppendDecode(root, line)
	if err != nil || len(root) != rootSize {
		clear(root)
		return secret.Bytes{}, false
	}
	return secret.New(root), true
}

// ReadPassphraseFile returns the passphrase in a file, without the line end
// after it. The file is held to the same rules as a key file.
func ReadPassphraseFile(path string) (secret.Bytes, error) {
	text, err := readPrivate(path, MaxPassphrase+2)
	if err != nil {
		return secret.Bytes{}, fmt.Errorf("reading the passphrase file: %w", err)
	}
	b := bytes.TrimSuffix(bytes.TrimSuffix(text.Reveal(), []byte("\n")), []byte("\r"))
	if len(b) == 0 {
		return secret.Bytes{}, fmt.Errorf("reading the passphrase file: %s is empty", path)
	}
	return secret.New(b), nil
}

// ReadPrivate reads a file of at most so many bytes with a secret, such as the
// password of another service: one of mode 0600 that belongs to this process's
// user, as [KeyFile] demands it.
func ReadPrivate(path string, limit int) (secret.Bytes, error) { return readPrivate(path, limit) }

// readPrivate reads a file that only its owner, this process's user, may read
// and write.
func readPrivate(path string, limit int) (secret.Bytes, error) {
	f, err := openPrivate(path)
	if err != nil {
		return secret.Bytes{}, err
	}
	defer f.Close()
	buf := make([]byte, limit+1)
	n, err := io.ReadFull(f, buf)
	if err != nil && !errors.Is(err, io.ErrUnexpectedEOF) && !errors.Is(err, io.EOF) {
		clear(buf)
		return secret.Bytes{}, err
	}
	if n > limit {
		clear(buf)
		return secret.Bytes{}, fmt.Errorf("%s is larger than %d bytes", path, limit)
	}
	return secret.New(buf[:n]), nil
}
