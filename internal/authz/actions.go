package authz

import (
	"strings"

	"github.com/keyreeve/keyreeve/policy"
)

// A keyset is a set of condition keys.
type keyset uint64

// The condition keys that not every action has. Those of KMS are told by the
// pages "AWS KMS condition keys" and "AWS global condition keys" of its
// Developer Guide, and all by the Service Authorization Reference.
const (
	keyCallerAccount keyset = 1 << iota
	keyViaService
	keyBypassLockoutCheck
	keyDataKeyPairSpec
	keyEncryptionAlgorithm
	keyEncryptionContext
	keyEncryptionContextKeys
	keyExpirationModel
	keyGrantConstraintSourceARN
	keyGrantConstraintType
	keyGrantIsForAWSResource
	keyGrantOperations
	keyGranteePrincipal
	keyGranteeServicePrincipal
	keyKeyAgreementAlgorithm
	keyKeyOrigin
	keyKeySpec
	keyKeyUsage
	keyMACAlgorithm
	keyMessageType
	keyMultiRegion
	keyMultiRegionKeyType
	keyPrimaryRegion
	keyReEncryptOnSameKey
	keyRecipientAttestation
	keyReplicaRegion
	keyRequestAlias
	keyResourceAliases
	keyRetiringPrincipal
	keyRetiringServicePrincipal
	keyRotationPeriod
	keyPendingWindow
	keySigningAlgorithm
	keyTrailingDays
	keyValidTo
	keyWrappingAlgorithm
	keyWrappingKeySpec

	keyRequestTag
	keyTagKeys
	keyResourceTag

	keyIAMResourceTag
	keyPermissionsBoundary
	keyPolicyARN

	keyExternalID
	keyRoleSessionName
	keySourceIdentity
	keyTransitiveTagKeys

	keyPolicyType
	keyServicePrincipal

	keyTargetRegion
)

// Sets that go together.
const (
	ofCall     = keyCallerAccount | keyViaService
	ofContext  = keyEncryptionContext | keyEncryptionContextKeys
	ofCrypto   = ofCall | ofContext | keyEncryptionAlgorithm | keyRequestAlias
	ofSpec     = keyKeyOrigin | keyKeySpec | keyKeyUsage | keyMultiRegion | keyMultiRegionKeyType
	ofKey      = ofSpec | keyResourceAliases | keyResourceTag // of a key as a resource
	ofEntity   = keyResourceTag | keyIAMResourceTag           // of a user or role as a resource
	ofTagging  = keyRequestTag | keyTagKeys
	ofBoundary = keyPermissionsBoundary
)

// keyOf returns the condition key with a name in lower case, or that it is a
// global one, which depends on no action. A name that is not known is neither.
func keyOf(name string) (bit keyset, global bool) {
	if !strings.HasPrefix(name, "aws:") {
		return keyOfService(name), false
	}
	switch name {
	case "aws:requesttag/":
		return keyRequestTag, false
	case "aws:tagkeys":
		return keyTagKeys, false
	case "aws:resourcetag/":
		return keyResourceTag, false
	}
	return 0, true
}

func keyOfService(name string) keyset {
	switch name {
	case "kms:calleraccount":
		return keyCallerAccount
	case "kms:viaservice":
		return keyViaService
	case "kms:bypasspolicylockoutsafetycheck":
		return keyBypassLockoutCheck
	case "kms:datakeypairspec":
		return keyDataKeyPairSpec
	case "kms:encryptionalgorithm":
		return keyEncryptionAlgorithm
	case "kms:encryptioncontext:":
		return keyEncryptionContext
	case "kms:encryptioncontextkeys":
		return keyEncryptionContextKeys
	case "kms:expirationmodel":
		return keyExpirationModel
	case "kms:grantconstraintsourcearn":
		return keyGrantConstraintSourceARN
	case "kms:grantconstrainttype":
		return keyGrantConstraintType
	case "kms:grantisforawsresource":
		return keyGrantIsForAWSResource
	case "kms:grantoperations":
		return keyGrantOperations
	case "kms:granteeprincipal":
		return keyGranteePrincipal
	case "kms:granteeserviceprincipal":
		return keyGranteeServicePrincipal
	case "kms:keyagreementalgorithm":
		return keyKeyAgreementAlgorithm
	case "kms:keyorigin":
		return keyKeyOrigin
	case "kms:keyspec", "kms:customermasterkeyspec":
		return keyKeySpec
	case "kms:keyusage", "kms:customermasterkeyusage":
		return keyKeyUsage
	case "kms:macalgorithm":
		return keyMACAlgorithm
	case "kms:messagetype":
		return keyMessageType
	case "kms:multiregion":
		return keyMultiRegion
	case "kms:multiregionkeytype":
		return keyMultiRegionKeyType
	case "kms:primaryregion":
		return keyPrimaryRegion
	case "kms:reencryptonsamekey":
		return keyReEncryptOnSameKey
	case "kms:recipientattestation:":
		return keyRecipientAttestation
	case "kms:replicaregion":
		return keyReplicaRegion
	case "kms:requestalias":
		return keyRequestAlias
	case "kms:resourcealiases":
		return keyResourceAliases
	case "kms:retiringprincipal":
		return keyRetiringPrincipal
	case "kms:retiringserviceprincipal":
		return keyRetiringServicePrincipal
	case "kms:rotationperiodindays":
		return keyRotationPeriod
	case "kms:schedulekeydeletionpendingwindowindays":
		return keyPendingWindow
	case "kms:signingalgorithm":
		return keySigningAlgorithm
	case "kms:trailingdayswithoutkeyusage":
		return keyTrailingDays
	case "kms:validto":
		return keyValidTo
	case "kms:wrappingalgorithm":
		return keyWrappingAlgorithm
	case "kms:wrappingkeyspec":
		return keyWrappingKeySpec
	case "iam:resourcetag/":
		return keyIAMResourceTag
	case "iam:permissionsboundary":
		return keyPermissionsBoundary
	case "iam:policyarn":
		return keyPolicyARN
	case "sts:externalid":
		return keyExternalID
	case "sts:rolesessionname":
		return keyRoleSessionName
	case "sts:sourceidentity":
		return keySourceIdentity
	case "sts:transitivetagkeys":
		return keyTransitiveTagKeys
	case "organizations:policytype":
		return keyPolicyType
	case "organizations:serviceprincipal":
		return keyServicePrincipal
	case "account:targetregion":
		return keyTargetRegion
	}
	return 0
}

// kind is what a resource is.
type kind uint16

const (
	other          kind = 1 << iota // its policy, if it has one, is not for us
	anything                        // "*": an action on no one resource
	key                             // a KMS key, which has a key policy
	newKey                          // a KMS key that is about to be made
	alias                           // a KMS alias
	role                            // an IAM role, which has a trust policy
	user                            // an IAM user
	iamPolicy                       // a managed policy
	organizational                  // an account, unit, root or policy of an organization
	mfaDevice                       // a virtual MFA device
	oidcProvider                    // an identity provider
	trail                           // a trail of CloudTrail
)

// tagged is what has tags, of which an action on it that is not in the table
// has the condition keys.
const tagged = user | role | iamPolicy | organizational | mfaDevice | oidcProvider | trail

// An action is what authorization knows of one.
type action struct {
	// on is what it is done to. Condition keys that describe a resource are
	// there for these kinds alone.
	on kind
	// shared: other accounts can be let do it.
	shared bool
	// granted: a grant can allow it, under the action's own name.
	granted bool
	// keys are the condition keys of the request.
	keys keyset
}

// actions is what can be asked for, with whom it can be shared and the
// condition keys that it populates. What is not in it is of its account alone
// and has no condition keys besides the global ones. A test holds it against
// testdata/actions.csv, which was taken from AWS's data.
//
// Read by all, written by none.
var actions = map[string]action{
	// Keys. Sources: the table of "AWS KMS permissions" in the Developer Guide.
	"kms:CancelKeyDeletion":                   {on: key, keys: ofCall},
	"kms:CreateAlias":                         {on: key | alias, keys: ofCall},
	"kms:CreateGrant":                         {on: key, shared: true, granted: true, keys: ofCall | ofContext | ofNewGrant},
	"kms:Decapsulate":                         {on: key, shared: true, granted: true, keys: ofCall | keyRequestAlias},
	"kms:Decrypt":                             {on: key, shared: true, granted: true, keys: ofCrypto | keyRecipientAttestation},
	"kms:DeleteAlias":                         {on: key | alias, keys: ofCall},
	"kms:DeleteImportedKeyMaterial":           {on: key, keys: ofCall},
	"kms:DeriveSharedSecret":                  {on: key, shared: true, granted: true, keys: ofCall | keyRequestAlias | keyKeyAgreementAlgorithm | keyRecipientAttestation},
	"kms:DescribeKey":                         {on: key, shared: true, granted: true, keys: ofCall | keyRequestAlias},
	"kms:DisableKey":                          {on: key, keys: ofCall | keyTrailingDays},
	"kms:DisableKeyRotation":                  {on: key, keys: ofCall},
	"kms:EnableKey":                           {on: key, keys: ofCall},
	"kms:EnableKeyRotation":                   {on: key, keys: ofCall | keyRotationPeriod},
	"kms:Encapsulate":                         {on: key, shared: true, granted: true, keys: ofCall | keyRequestAlias},
	"kms:Encrypt":                             {on: key, shared: true, granted: true, keys: ofCrypto},
	"kms:GenerateDataKey":                     {on: key, shared: true, granted: true, keys: ofCrypto | keyRecipientAttestation},
	"kms:GenerateDataKeyPair":                 {on: key, shared: true, granted: true, keys: ofCrypto | keyRecipientAttestation | keyDataKeyPairSpec},
	"kms:GenerateDataKeyPairWithoutPlaintext": {on: key, shared: true, granted: true, keys: ofCrypto | keyDataKeyPairSpec},
	"kms:GenerateDataKeyWithoutPlaintext":     {on: key, shared: true, granted: true, keys: ofCrypto},
	"kms:GenerateMac":                         {on: key, shared: true, granted: true, keys: ofCall | keyRequestAlias | keyMACAlgorithm},
	"kms:GetKeyLastUsage":                     {on: key, keys: ofCall},
	"kms:GetKeyPolicy":                        {on: key, keys: ofCall},
	"kms:GetKeyRotationStatus":                {on: key, shared: true, keys: ofCall},
	"kms:GetParametersForImport":              {on: key, keys: ofCall | keyWrappingAlgorithm | keyWrappingKeySpec},
	"kms:GetPublicKey":                        {on: key, shared: true, granted: true, keys: ofCall | keyRequestAlias},
	"kms:ImportKeyMaterial":                   {on: key, keys: ofCall | keyExpirationModel | keyValidTo},
	"kms:ListGrants":                          {on: key, shared: true, keys: ofCall | keyGrantIsForAWSResource},
	"kms:ListKeyPolicies":                     {on: key, keys: ofCall},
	"kms:ListKeyRotations":                    {on: key, keys: ofCall},
	"kms:ListResourceTags":                    {on: key, keys: ofCall},
	"kms:PutKeyPolicy":                        {on: key, keys: ofCall | keyBypassLockoutCheck},
	"kms:ReEncryptFrom":                       {on: key, shared: true, granted: true, keys: ofCrypto | keyReEncryptOnSameKey},
	"kms:ReEncryptTo":                         {on: key, shared: true, granted: true, keys: ofCrypto | keyReEncryptOnSameKey},
	"kms:ReplicateKey":                        {on: key, keys: ofCall | keyReplicaRegion},
	"kms:RetireGrant":                         {on: key, shared: true, keys: ofCall | ofContext | keyGrantConstraintType},
	"kms:RevokeGrant":                         {on: key, shared: true, keys: ofCall | keyGrantIsForAWSResource},
	"kms:RotateKeyOnDemand":                   {on: key, keys: ofCall},
	"kms:ScheduleKeyDeletion":                 {on: key, keys: ofCall | keyPendingWindow | keyTrailingDays},
	"kms:Sign":                                {on: key, shared: true, granted: true, keys: ofCall | keyRequestAlias | keyMessageType | keySigningAlgorithm},
	"kms:SynchronizeMultiRegionKey":           {on: key},
	"kms:TagResource":                         {on: key | newKey, keys: ofCall | ofTagging},
	"kms:UntagResource":                       {on: key, keys: ofCall | keyTagKeys},
	"kms:UpdateAlias":                         {on: key | alias, keys: ofCall},
	"kms:UpdateKeyDescription":                {on: key, keys: ofCall},
	"kms:UpdatePrimaryRegion":                 {on: key, keys: ofCall | keyPrimaryRegion},
	"kms:Verify":                              {on: key, shared: true, granted: true, keys: ofCall | keyRequestAlias | keyMessageType | keySigningAlgorithm},
	"kms:VerifyMac":                           {on: key, shared: true, granted: true, keys: ofCall | keyRequestAlias | keyMACAlgorithm},

	// What touches no key that there is. A key that is about to be made has no
	// tags yet, though AWS lists aws:ResourceTag for CreateKey.
	"kms:ConnectCustomKeyStore":    {on: anything, keys: keyCallerAccount},
	"kms:CreateCustomKeyStore":     {on: anything, keys: keyCallerAccount},
	"kms:CreateKey":                {on: anything, keys: ofCall | ofSpec | ofTagging | keyBypassLockoutCheck},
	"kms:DeleteCustomKeyStore":     {on: anything, keys: keyCallerAccount},
	"kms:DescribeCustomKeyStores":  {on: anything, keys: keyCallerAccount},
	"kms:DisconnectCustomKeyStore": {on: anything, keys: keyCallerAccount},
	"kms:GenerateRandom":           {on: anything, keys: keyRecipientAttestation},
	"kms:ListAliases":              {on: anything},
	"kms:ListKeys":                 {on: anything},
	"kms:ListRetirableGrants":      {on: anything},
	"kms:UpdateCustomKeyStore":     {on: anything, keys: keyCallerAccount},

	// STS.
	"sts:AssumeRole":                {on: role, shared: true, keys: ofTagging | keyExternalID | keyRoleSessionName | keySourceIdentity | keyTransitiveTagKeys},
	"sts:AssumeRoleWithWebIdentity": {on: role, shared: true, keys: ofTagging | keyRoleSessionName | keySourceIdentity | keyTransitiveTagKeys},
	"sts:SetSourceIdentity":         {on: role, shared: true, keys: keySourceIdentity},
	"sts:TagSession":                {on: role, shared: true, keys: ofTagging | keyTransitiveTagKeys},
	"sts:GetFederationToken":        {on: other, keys: ofTagging},

	// IAM: those that have condition keys of their own. What is done to a user,
	// role or managed policy has its tags, too.
	"iam:AttachGroupPolicy":             {on: other, keys: keyPolicyARN},
	"iam:AttachRolePolicy":              {on: role, keys: keyPolicyARN | ofBoundary},
	"iam:AttachUserPolicy":              {on: user, keys: keyPolicyARN | ofBoundary},
	"iam:CreateOpenIDConnectProvider":   {on: oidcProvider, keys: ofTagging},
	"iam:CreatePolicy":                  {on: iamPolicy, keys: ofTagging},
	"iam:CreateRole":                    {on: role, keys: ofTagging | ofBoundary},
	"iam:CreateUser":                    {on: user, keys: ofTagging | ofBoundary},
	"iam:CreateVirtualMFADevice":        {on: mfaDevice, keys: ofTagging},
	"iam:DeleteRole":                    {on: role, keys: ofBoundary},
	"iam:DeleteRolePermissionsBoundary": {on: role, keys: ofBoundary},
	"iam:DeleteRolePolicy":              {on: role, keys: ofBoundary},
	"iam:DeleteUserPermissionsBoundary": {on: user, keys: ofBoundary},
	"iam:DeleteUserPolicy":              {on: user, keys: ofBoundary},
	"iam:DetachGroupPolicy":             {on: other, keys: keyPolicyARN},
	"iam:DetachRolePolicy":              {on: role, keys: keyPolicyARN | ofBoundary},
	"iam:DetachUserPolicy":              {on: user, keys: keyPolicyARN | ofBoundary},
	"iam:GetRole":                       {on: role, keys: ofBoundary},
	"iam:PutRolePermissionsBoundary":    {on: role, keys: ofBoundary},
	"iam:PutRolePolicy":                 {on: role, keys: ofBoundary},
	"iam:PutUserPermissionsBoundary":    {on: user, keys: ofBoundary},
	"iam:PutUserPolicy":                 {on: user, keys: ofBoundary},
	"iam:TagMFADevice":                  {on: mfaDevice, keys: ofTagging},
	"iam:TagOpenIDConnectProvider":      {on: oidcProvider, keys: ofTagging},
	"iam:TagPolicy":                     {on: iamPolicy, keys: ofTagging},
	"iam:TagRole":                       {on: role, keys: ofTagging},
	"iam:TagUser":                       {on: user, keys: ofTagging},
	"iam:UntagMFADevice":                {on: mfaDevice, keys: keyTagKeys},
	"iam:UntagOpenIDConnectProvider":    {on: oidcProvider, keys: keyTagKeys},
	"iam:UntagPolicy":                   {on: iamPolicy, keys: keyTagKeys},
	"iam:UntagRole":                     {on: role, keys: keyTagKeys},
	"iam:UntagUser":                     {on: user, keys: keyTagKeys},
	"iam:UpdateAssumeRolePolicy":        {on: role, keys: ofBoundary},
	"iam:UpdateRole":                    {on: role, keys: ofBoundary},
	"iam:UpdateRoleDescription":         {on: role, keys: ofBoundary},

	// Organizations: likewise. What is about to be made has no tags yet.
	"organizations:AttachPolicy":                {on: organizational, keys: keyPolicyType},
	"organizations:CreateAccount":               {on: anything, keys: ofTagging},
	"organizations:CreateOrganizationalUnit":    {on: organizational, keys: ofTagging},
	"organizations:CreatePolicy":                {on: anything, keys: keyPolicyType | ofTagging},
	"organizations:DeletePolicy":                {on: organizational, keys: keyPolicyType},
	"organizations:DescribeEffectivePolicy":     {on: organizational, keys: keyPolicyType},
	"organizations:DescribePolicy":              {on: organizational, keys: keyPolicyType},
	"organizations:DetachPolicy":                {on: organizational, keys: keyPolicyType},
	"organizations:DisablePolicyType":           {on: organizational, keys: keyPolicyType},
	"organizations:EnablePolicyType":            {on: organizational, keys: keyPolicyType},
	"organizations:ListDelegatedAdministrators": {on: anything, keys: keyServicePrincipal},
	"organizations:ListPolicies":                {on: anything, keys: keyPolicyType},
	"organizations:ListPoliciesForTarget":       {on: organizational, keys: keyPolicyType},
	"organizations:ListTagsForResource":         {on: organizational, keys: keyPolicyType},
	"organizations:ListTargetsForPolicy":        {on: organizational, keys: keyPolicyType},
	"organizations:TagResource":                 {on: organizational, keys: keyPolicyType | ofTagging},
	"organizations:UntagResource":               {on: organizational, keys: keyPolicyType | keyTagKeys},
	"organizations:UpdatePolicy":                {on: organizational, keys: keyPolicyType},

	// Account Management.
	"account:DisableRegion":      {on: other, keys: keyTargetRegion},
	"account:EnableRegion":       {on: other, keys: keyTargetRegion},
	"account:GetRegionOptStatus": {on: other, keys: keyTargetRegion},
	"account:ListRegions":        {on: other},

	// CloudTrail. A trail that is about to be made has no tags yet.
	"cloudtrail:AddTags":        {on: trail, keys: ofTagging},
	"cloudtrail:CreateTrail":    {on: trail, keys: ofTagging},
	"cloudtrail:DescribeTrails": {on: anything},
	"cloudtrail:ListPublicKeys": {on: anything},
	"cloudtrail:ListTrails":     {on: anything},
	"cloudtrail:LookupEvents":   {on: anything},
	"cloudtrail:RemoveTags":     {on: trail, keys: keyTagKeys},
}

// ofNewGrant is what a grant that is asked for populates.
const ofNewGrant = keyGrantConstraintSourceARN | keyGrantConstraintType | keyGrantIsForAWSResource | keyGrantOperations |
	keyGranteePrincipal | keyGranteeServicePrincipal | keyRetiringPrincipal | keyRetiringServicePrincipal

// Known reports whether an action is known here, with its condition keys. What
// is not known can be decided on all the same, by the global condition keys.
func Known(name string) bool {
	_, ok := actions[name]
	return ok
}

// Populates reports whether requests for an action can have a condition key:
// one of its own, one of what it is done to, or a global one.
func Populates(name string, k *policy.Key) bool {
	a, ok := actions[name]
	if !ok {
		a.on = tagged
	}
	keys := a.keys
	if a.on&(key|newKey) != 0 {
		keys |= ofKey
	}
	if a.on&(user|role|iamPolicy) != 0 {
		keys |= ofEntity
	}
	if a.on&(organizational|mfaDevice|oidcProvider|trail) != 0 {
		keys |= keyResourceTag
	}
	bit, global := keyOf(k.Name)
	return global || keys&bit != 0
}
