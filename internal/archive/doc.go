// Package archive keeps audit records in CloudTrail's files: log files by
// account and Region, and digest files that list them, signed and chained by
// hash.
package archive
