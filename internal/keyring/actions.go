package keyring

// This file is the one place that says what may be done to a key under which
// permit, and in what states of the key.

// states is a set of key states.
type states uint16

const (
	inCreating states = 1 << iota
	inEnabled
	inDisabled
	inPendingImport
	inPendingDeletion
	inPendingReplicaDeletion
	inUpdating
	inDestroying

	inPending  = inPendingDeletion | inPendingReplicaDeletion
	notPending = inCreating | inEnabled | inDisabled | inPendingImport | inUpdating
	inAny      = notPending | inPending
	inUse      = inEnabled | inUpdating // in which a key works
)

func (s State) set() states {
	switch s {
	case Creating:
		return inCreating
	case Enabled:
		return inEnabled
	case Disabled:
		return inDisabled
	case PendingImport:
		return inPendingImport
	case PendingDeletion:
		return inPendingDeletion
	case PendingReplicaDeletion:
		return inPendingReplicaDeletion
	case Updating:
		return inUpdating
	case destroying:
		return inDestroying
	}
	return 0
}

// methods is a set of things that a Key can be asked for.
type methods uint64

const (
	mayEncrypt methods = 1 << iota
	mayDecrypt
	mayDataKey
	mayDataKeyPair
	mayPlaintext // of a data key or data key pair
	maySign
	mayVerify
	mayGenerateMAC
	mayVerifyMAC
	mayDerive
	mayEncapsulate
	mayDecapsulate
	mayPublicKey
	mayEnable
	mayDisable
	mayDescription
	mayTag
	mayUntag
	mayScheduleDeletion
	mayCancelDeletion
	mayCreateAlias
	mayUpdateAlias
	mayDeleteAlias
	mayPutPolicy
	mayCreateGrant
	mayListGrants
	mayRetireGrant
	mayRevokeGrant
	mayLastUse
	mayEnableRotation
	mayDisableRotation
	mayRotateOnDemand
	mayRotate // automatically
	mayImportParameters
	mayImportMaterial
	mayDeleteMaterial
	mayExpire
	mayReplicate
	mayUpdatePrimary
	maySynchronize
	mayDestroy
)

// action is what a permit for an action is good for.
type action struct {
	in    states
	may   methods
	usage Usage // of a key that the action uses; empty if it uses none
}

// actions is every action that is done to a key. Sources: "Key states of AWS
// KMS keys" in the AWS KMS Developer Guide, and the API reference's pages of
// the operations. Actions on no key at all (kms:CreateKey, kms:ListKeys,
// kms:ListAliases, kms:ListRetirableGrants) are permitted on "*" and open nothing.
var actions = map[string]*action{
	// These read metadata, which every open Key shows.
	"kms:DescribeKey":      {in: inAny},
	"kms:ListResourceTags": {in: inAny},
	"kms:GetKeyPolicy":     {in: inAny},
	"kms:ListKeyPolicies":  {in: inAny},
	"kms:GetKeyLastUsage":  {in: inAny, may: mayLastUse},

	"kms:Encrypt":                             {in: inUse, may: mayEncrypt, usage: EncryptDecrypt},
	"kms:Decrypt":                             {in: inUse, may: mayDecrypt, usage: EncryptDecrypt},
	"kms:ReEncryptFrom":                       {in: inUse, may: mayDecrypt, usage: EncryptDecrypt},
	"kms:ReEncryptTo":                         {in: inUse, may: mayEncrypt, usage: EncryptDecrypt},
	"kms:GenerateDataKey":                     {in: inUse, may: mayDataKey | mayPlaintext, usage: EncryptDecrypt},
	"kms:GenerateDataKeyWithoutPlaintext":     {in: inUse, may: mayDataKey, usage: EncryptDecrypt},
	"kms:GenerateDataKeyPair":                 {in: inUse, may: mayDataKeyPair | mayPlaintext, usage: EncryptDecrypt},
	"kms:GenerateDataKeyPairWithoutPlaintext": {in: inUse, may: mayDataKeyPair, usage: EncryptDecrypt},
	"kms:Sign":                                {in: inUse, may: maySign, usage: SignVerify},
	"kms:Verify":                              {in: inUse, may: mayVerify, usage: SignVerify},
	"kms:GenerateMac":                         {in: inUse, may: mayGenerateMAC, usage: GenerateVerifyMAC},
	"kms:VerifyMac":                           {in: inUse, may: mayVerifyMAC, usage: GenerateVerifyMAC},
	"kms:DeriveSharedSecret":                  {in: inUse, may: mayDerive, usage: KeyAgreement},
	"kms:Encapsulate":                         {in: inUse, may: mayEncapsulate, usage: EncapsulateDecapsulate},
	"kms:Decapsulate":                         {in: inUse, may: mayDecapsulate, usage: EncapsulateDecapsulate},
	"kms:GetPublicKey":                        {in: inUse, may: mayPublicKey},

	"kms:EnableKey":            {in: inEnabled | inDisabled, may: mayEnable},
	"kms:DisableKey":           {in: inEnabled | inDisabled, may: mayDisable},
	"kms:UpdateKeyDescription": {in: notPending, may: mayDescription},
	"kms:TagResource":          {in: notPending, may: mayTag},
	"kms:UntagResource":        {in: notPending, may: mayUntag},
	"kms:ScheduleKeyDeletion":  {in: notPending &^ inUpdating, may: mayScheduleDeletion},
	"kms:CancelKeyDeletion":    {in: inPending, may: mayCancelDeletion},

	// A key that is pending import cannot be rotated automatically, ever: that is
	// said by the operation itself.
	"kms:EnableKeyRotation":    {in: inEnabled | inPendingImport, may: mayEnableRotation},
	"kms:DisableKeyRotation":   {in: inEnabled | inPendingImport, may: mayDisableRotation},
	"kms:RotateKeyOnDemand":    {in: inEnabled, may: mayRotateOnDemand},
	"kms:GetKeyRotationStatus": {in: inAny},
	"kms:ListKeyRotations":     {in: inAny},

	"kms:GetParametersForImport":    {in: inEnabled | inDisabled | inPendingImport, may: mayImportParameters},
	"kms:ImportKeyMaterial":         {in: inEnabled | inDisabled | inPendingImport | inUpdating, may: mayImportMaterial},
	"kms:DeleteImportedKeyMaterial": {in: inEnabled | inDisabled | inPendingImport | inPending, may: mayDeleteMaterial},

	"kms:ReplicateKey":        {in: inEnabled, may: mayReplicate},
	"kms:UpdatePrimaryRegion": {in: inUse, may: mayUpdatePrimary},

	"kms:CreateAlias": {in: notPending, may: mayCreateAlias},
	// Only the key that the alias is pointed at must not be pending deletion:
	// UpdateAlias looks at that.
	"kms:UpdateAlias": {in: inAny, may: mayUpdateAlias},
	"kms:DeleteAlias": {in: inAny, may: mayDeleteAlias},

	"kms:PutKeyPolicy": {in: inAny, may: mayPutPolicy},
	"kms:CreateGrant":  {in: inUse, may: mayCreateGrant},
	"kms:ListGrants":   {in: inAny, may: mayListGrants},
	"kms:RetireGrant":  {in: inAny, may: mayRetireGrant},
	"kms:RevokeGrant":  {in: inAny, may: mayRevokeGrant},

	// The system's own work: no call is ever permitted this.
	actionDestroy: {in: inPendingDeletion | inDestroying, may: mayDestroy},
	actionRotate:  {in: inEnabled, may: mayRotate},
	actionExpire:  {in: inAny, may: mayExpire},
	// What is Updating counts as pending import while its material is not there.
	actionSynchronize: {in: inCreating | inUpdating | inPendingImport, may: maySynchronize},
}

// actionDestroy ends a key whose waiting period is over; actionRotate rotates one
// automatically; actionExpire removes its material that has expired;
// actionSynchronize makes a multi-Region key what its primary is.
const (
	actionDestroy = "keyreeve:DestroyKey"
	actionRotate  = "keyreeve:RotateKey"
	actionExpire  = "keyreeve:DeleteExpiredKeyMaterial"

	actionSynchronize = "keyreeve:SynchronizeMultiRegionKey"
)

// allows returns nil if the action may be done in a state, else a *StateError,
// or ErrNotFound for a key that is gone as far as anybody can tell.
func (a *action) allows(m *Metadata) error {
	switch {
	case a.in&m.State.set() != 0:
		return nil
	case m.State == destroying:
		return ErrNotFound
	case a.in == inPending:
		return &StateError{ARN: m.ARN, State: m.State, Want: PendingDeletion}
	}
	return &StateError{ARN: m.ARN, State: m.State}
}
