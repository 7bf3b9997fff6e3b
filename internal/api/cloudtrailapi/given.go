package cloudtrailapi

// The strings of UpdateTrail that can be taken away from a trail by sending them
// empty, which is something else than leaving them out. The numbers are those
// of the members in presence.
const (
	bitPrefix   = 2
	bitTopic    = 3
	bitLogGroup = 4
	bitLogRole  = 5
	bitKey      = 6
)

// GivenS3KeyPrefix reports whether S3KeyPrefix is there, if only empty.
func (in *UpdateTrailInput) GivenS3KeyPrefix() bool {
	return in.S3KeyPrefix != "" || in.presence.Has(bitPrefix)
}

// GivenSnsTopicName reports whether SnsTopicName is there, if only empty.
func (in *UpdateTrailInput) GivenSnsTopicName() bool {
	return in.SnsTopicName != "" || in.presence.Has(bitTopic)
}

// GivenCloudWatchLogsLogGroupARN reports whether CloudWatchLogsLogGroupArn is
// there, if only empty.
func (in *UpdateTrailInput) GivenCloudWatchLogsLogGroupARN() bool {
	return in.CloudWatchLogsLogGroupARN != "" || in.presence.Has(bitLogGroup)
}

// GivenCloudWatchLogsRoleARN reports whether CloudWatchLogsRoleArn is there, if
// only empty.
func (in *UpdateTrailInput) GivenCloudWatchLogsRoleARN() bool {
	return in.CloudWatchLogsRoleARN != "" || in.presence.Has(bitLogRole)
}

// GivenKmsKeyID reports whether KmsKeyId is there, if only empty.
func (in *UpdateTrailInput) GivenKmsKeyID() bool { return in.KmsKeyID != "" || in.presence.Has(bitKey) }
