package seal

import "errors"

// Errors of a Box and of its providers; they come wrapped.
var (
	// ErrSealed: the Box has no keys now.
	ErrSealed = errors.New("seal: sealed")
	// ErrNotOpened: a value was changed, cut, moved, or sealed for another
	// purpose or with other associated data.
	ErrNotOpened = errors.New("seal: value does not open")
	// ErrUnknownDomainKey: a value names a domain key that the seal state does
	// not have.
	ErrUnknownDomainKey = errors.New("seal: unknown domain key")
	// ErrWrongRoot: the provider's root key is not the one that the store is
	// sealed with: a wrong passphrase, or another store's key file.
	ErrWrongRoot = errors.New("seal: not the root key of this store")
	// ErrTampered: the seal state in the store was changed by somebody without
	// the root key, or is damaged.
	ErrTampered = errors.New("seal: the seal state does not verify")
	// ErrWrongProvider: the store is sealed by another kind of provider.
	ErrWrongProvider = errors.New("seal: the store is sealed in another way")
	// ErrNoPassphrase: a passphrase is needed and was not given.
	ErrNoPassphrase = errors.New("seal: a passphrase is needed")
	// ErrWeakPassphrase: a new passphrase is too short, too long, or not text.
	ErrWeakPassphrase = errors.New("seal: the passphrase cannot be used")
	// ErrKeyFileTaken: the place of a new key file has another store's key.
	ErrKeyFileTaken = errors.New("seal: another store's root key is there")
	// ErrConflict: the seal state was changed by somebody else meanwhile.
	ErrConflict = errors.New("seal: changed meanwhile; try again")
	// ErrUnsettled: the store did not say whether the change happened, and it
	// could not be found out.
	ErrUnsettled = errors.New("seal: whether the seal was changed is unknown")
)
