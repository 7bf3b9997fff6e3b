package server

// safer are the operations that take something away from somebody, or put a
// stop to something, by signing name. They may run while the audit log has
// nothing left but its reserve, which is kept for them: whoever fills a disk
// must not gain that nobody can stop him. What some of them can also be used
// for, as to give rights, is on record like everything. Their last records, a
// quarter of the reserve, are for the operator ([Service.Owner]): calls that are
// denied are on record, too, and anybody can make them.
var safer = map[string][]string{
	"kms": {
		"DeleteImportedKeyMaterial", "DisableKey", "DisconnectCustomKeyStore", "PutKeyPolicy", "RetireGrant", "RevokeGrant", "ScheduleKeyDeletion",
	},
	"iam": {
		"DeleteAccessKey", "DeleteGroupPolicy", "DeleteOpenIDConnectProvider", "DeleteRole", "DeleteRolePolicy", "DeleteUser", "DeleteUserPolicy",
		"DetachGroupPolicy", "DetachRolePolicy", "DetachUserPolicy", "PutRolePermissionsBoundary", "PutRolePolicy", "PutUserPermissionsBoundary",
		"PutUserPolicy", "RemoveClientIDFromOpenIDConnectProvider", "RemoveUserFromGroup", "UpdateAccessKey", "UpdateAssumeRolePolicy",
	},
	"account":       {"DisableRegion"},
	"organizations": {"AttachPolicy", "UpdatePolicy"},
	// The operator's own: also what he needs to look at what is wrong.
	"keyreeve": {everything},
}

const everything = "*"

// isSafer reports whether an operation may run on the audit log's reserve.
func isSafer(service, operation string) bool {
	for _, name := range safer[service] {
		if name == operation || name == everything {
			return true
		}
	}
	return false
}
