package kms

import (
	"context"
	"errors"
	"time"

	"github.com/keyreeve/keyreeve/internal/api/kmsapi"
	"github.com/keyreeve/keyreeve/internal/call"
	"github.com/keyreeve/keyreeve/internal/keyring"
	"github.com/keyreeve/keyreeve/internal/secret"
	"github.com/keyreeve/keyreeve/internal/wire"
	"github.com/keyreeve/keyreeve/policy"
)

var (
	toGetParametersForImport    = access{action: "kms:GetParametersForImport", arnErrors: true}
	toImportKeyMaterial         = access{action: "kms:ImportKeyMaterial", arnErrors: true}
	toDeleteImportedKeyMaterial = access{action: "kms:DeleteImportedKeyMaterial", arnErrors: true}
)

// maxExpiry is how far ahead imported material can expire.
const maxExpiry = 365 * 24 * time.Hour

// GetParametersForImport implements [kmsapi.Handler].
func (s *Service) GetParametersForImport(ctx context.Context, c *call.Call, in *kmsapi.GetParametersForImportInput, out *kmsapi.GetParametersForImportOutput) error {
	return serve(ctx, s, c, in, out, (*Service).getParametersForImport)
}

func (s *Service) getParametersForImport(ctx context.Context, c *call.Call, in *kmsapi.GetParametersForImportInput, out *kmsapi.GetParametersForImportOutput) error {
	key, err := s.use(ctx, c, &toGetParametersForImport, in.KeyID, &asked{more: []attribute{
		{"kms:wrappingalgorithm", policy.String(string(in.WrappingAlgorithm))},
		{"kms:wrappingkeyspec", policy.String(string(in.WrappingKeySpec))},
	}})
	if err != nil {
		return err
	}
	p, err := key.ImportParameters(ctx, keyring.WrappingAlgorithm(in.WrappingAlgorithm), keyring.Spec(in.WrappingKeySpec))
	if err != nil {
		return err
	}
	out.KeyID = key.Metadata().ARN
	out.ImportToken = p.Token
	out.PublicKey = secret.New(p.PublicKey)
	out.ParametersValidTo = p.ValidTo
	return nil
}

// ImportKeyMaterial implements [kmsapi.Handler].
func (s *Service) ImportKeyMaterial(ctx context.Context, c *call.Call, in *kmsapi.ImportKeyMaterialInput, out *kmsapi.ImportKeyMaterialOutput) error {
	return serve(ctx, s, c, in, out, (*Service).importKeyMaterial)
}

func (s *Service) importKeyMaterial(ctx context.Context, c *call.Call, in *kmsapi.ImportKeyMaterialInput, out *kmsapi.ImportKeyMaterialOutput) error {
	if err := checkExpiry(c.Time, in); err != nil {
		return err
	}
	if in.ImportType == kmsapi.ImportTypeNewKeyMaterial && in.KeyMaterialID != "" {
		return wire.Validation("Input parameter keyMaterialId cannot be used with NEW_KEY_MATERIAL importType.")
	}
	validTo := in.ValidTo.Truncate(time.Second)
	q := &asked{more: []attribute{{"kms:expirationmodel", text(string(in.ExpirationModel))}}}
	if !validTo.IsZero() {
		q.more = append(q.more, attribute{"kms:validto", policy.Time(validTo)})
	}
	key, err := s.use(ctx, c, &toImportKeyMaterial, in.KeyID, q)
	if err != nil {
		return err
	}
	if err := checkImport(key.Metadata(), in); err != nil {
		return err
	}
	material := keyring.Import{
		Token:      in.ImportToken,
		Wrapped:    in.EncryptedKeyMaterial,
		Expires:    validTo,
		Type:       keyring.ImportType(in.ImportType),
		MaterialID: in.KeyMaterialID,
	}
	if in.KeyMaterialDescription != "" {
		material.Description = &in.KeyMaterialDescription
	}
	id, err := key.Import(ctx, material)
	if err != nil {
		return err
	}
	out.KeyID = key.Metadata().ARN
	out.KeyMaterialID = shownMaterial(key.Metadata(), id)
	return nil
}

// checkImport says what is wrong with an import into the key: it names what only
// keys that can have several materials know, or what a replica has from its
// primary key.
func checkImport(m *keyring.Metadata, in *kmsapi.ImportKeyMaterialInput) error {
	single := m.Spec != keyring.SymmetricDefault
	switch {
	case m.Origin != keyring.External:
		return nil // told by the keyring
	case single && in.ImportType != "":
		return notOfSingle("importType", m.Spec)
	case single && in.KeyMaterialID != "":
		return notOfSingle("keyMaterialId", m.Spec)
	case single && in.KeyMaterialDescription != "":
		return notOfSingle("keyMaterialDescription", m.Spec)
	case m.IsReplica() && in.KeyMaterialDescription != "":
		return wire.Validation("Key material description can only be specified on primary Multi-Region keys")
	case m.IsReplica() && in.ImportType == kmsapi.ImportTypeNewKeyMaterial:
		return wire.Validation("Input parameter ImportType NEW_KEY_MATERIAL cannot be used on replica Multi-Region keys")
	}
	return nil
}

// notOfSingle refuses a parameter that keys with one material do not have.
func notOfSingle(parameter string, spec keyring.Spec) error {
	return wire.Validation("Input parameter " + parameter + " cannot be used with " + string(spec) + " imported keys.")
}

// checkExpiry says what is wrong with when material is to expire, which is at a
// full second: what comes after it is cut off.
func checkExpiry(now time.Time, in *kmsapi.ImportKeyMaterialInput) error {
	expires := in.ExpirationModel != kmsapi.ExpirationModelTypeKeyMaterialDoesNotExpire
	switch {
	case expires && in.ValidTo.IsZero():
		return wire.Validation("A validTo date must be set if the ExpirationModel is KEY_MATERIAL_EXPIRES")
	case !expires && !in.ValidTo.IsZero():
		return wire.Validation("A validTo date cannot be set if the ExpirationModel is KEY_MATERIAL_DOES_NOT_EXPIRE")
	case expires && !in.ValidTo.Truncate(time.Second).After(now):
		return wire.Validation("ValidTo must be in the future")
	case expires && in.ValidTo.After(now.Add(maxExpiry)):
		return wire.Validation("ValidTo must be less than 365 days in the future")
	}
	return nil
}

// DeleteImportedKeyMaterial implements [kmsapi.Handler].
func (s *Service) DeleteImportedKeyMaterial(ctx context.Context, c *call.Call, in *kmsapi.DeleteImportedKeyMaterialInput, out *kmsapi.DeleteImportedKeyMaterialOutput) error {
	return serve(ctx, s, c, in, out, (*Service).deleteImportedKeyMaterial)
}

func (s *Service) deleteImportedKeyMaterial(ctx context.Context, c *call.Call, in *kmsapi.DeleteImportedKeyMaterialInput, out *kmsapi.DeleteImportedKeyMaterialOutput) error {
	key, err := s.use(ctx, c, &toDeleteImportedKeyMaterial, in.KeyID, nil)
	if err != nil {
		return err
	}
	m := key.Metadata()
	id, err := key.DeleteMaterial(ctx, in.KeyMaterialID)
	if errors.Is(err, keyring.ErrNotFound) {
		return wire.Validation("Key material (id: " + in.KeyMaterialID + ") has never been imported into KMS key " + m.ARN + ".")
	}
	if err != nil {
		return err
	}
	out.KeyID = m.ARN
	out.KeyMaterialID = shownMaterial(m, id)
	return nil
}

// shownMaterial returns a material's id, or nothing for a key that AWS shows none
// of.
func shownMaterial(m *keyring.Metadata, id string) string {
	if m.Spec != keyring.SymmetricDefault {
		return ""
	}
	return id
}

// expiry adds to the description of a key whether its imported material expires,
// if all of it is there.
func expiry(k *kmsapi.KeyMetadata, m *keyring.Metadata) {
	at, ok := m.ValidTo()
	if ok && m.State != keyring.PendingImport {
		k.ExpirationModel, k.ValidTo = expirationModel(at), at
	}
}

// expirationModel says in the API's terms when imported material expires; the zero
// time means never.
func expirationModel(at time.Time) kmsapi.ExpirationModelType {
	if at.IsZero() {
		return kmsapi.ExpirationModelTypeKeyMaterialDoesNotExpire
	}
	return kmsapi.ExpirationModelTypeKeyMaterialExpires
}

// importError is the API's error for one that is about imported material, nil for
// others.
func importError(err error) error {
	var (
		wrapping *keyring.WrappingError
		single   *keyring.SingleMaterialError
		pending  *keyring.PendingMaterialError
		another  *keyring.OtherMaterialError
		known    *keyring.KnownMaterialError
	)
	switch {
	case errors.As(err, &wrapping):
		return wire.Validation("Wrapping algorithm " + string(wrapping.Algorithm) + " and wrapping key spec " +
			string(wrapping.Wrapping) + " cannot be used to import a " + string(wrapping.Spec) + " key.")
	case errors.As(err, &single):
		return notOfSingle("keyMaterialId", single.Spec)
	case errors.As(err, &pending):
		return kmsapi.KMSInvalidStateException("New key material (id: " + pending.New + ") cannot be imported into KMS key " + pending.ARN +
			", because another key material (id: " + pending.Pending + ") is pending rotation.")
	case errors.As(err, &another) && another.Want != "":
		return kmsapi.IncorrectKeyMaterialException("Imported key material does not have the expected identifier (" + another.Want + ").")
	case errors.As(err, &another):
		return kmsapi.IncorrectKeyMaterialException("")
	case errors.As(err, &known):
		return kmsapi.IncorrectKeyMaterialException("Key material (id: " + known.ID +
			") being imported as NEW_KEY_MATERIAL is already associated with KMS key " + known.ARN + ".")
	case errors.Is(err, keyring.ErrKeyMaterial):
		return kmsapi.InvalidCiphertextException("") // what was wrapped is no key of this spec
	case errors.Is(err, keyring.ErrImportToken):
		return kmsapi.InvalidImportTokenException("")
	case errors.Is(err, keyring.ErrImportTokenExpired):
		return kmsapi.ExpiredImportTokenException("")
	}
	return nil
}
