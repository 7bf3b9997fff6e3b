package example_test

import (
	"context"
	"fmt"
	"log"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/credentials"
	"github.com/aws/aws-sdk-go-v2/service/kms"

	"github.com/keyreeve/keyreeve/kmstest"
)

// newClient returns a client of the server. Nothing of the environment goes
// into it, so it can't reach anything else.
func newClient(s *kmstest.Server) *kms.Client {
	return kms.New(kms.Options{
		BaseEndpoint: aws.String(s.Endpoint),
		Region:       s.Region,
		Credentials:  credentials.NewStaticCredentialsProvider(s.AccessKeyID, s.SecretAccessKey, ""),
		HTTPClient:   s.Client(),
	})
}

// In a test, kmstest.NewServer(t) does what Start and Close do here.
func Example() {
	server, err := kmstest.Start(kmstest.Account("111122223333"))
	if err != nil {
		log.Fatal(err)
	}
	defer server.Close()
	client := newClient(server)
	ctx := context.Background()

	created, err := client.CreateKey(ctx, &kms.CreateKeyInput{Description: aws.String("an example")})
	if err != nil {
		log.Fatal(err)
	}
	key := created.KeyMetadata
	fmt.Println(aws.ToString(key.AWSAccountId), key.KeySpec, key.KeyState)

	encrypted, err := client.Encrypt(ctx, &kms.EncryptInput{
		KeyId:             key.KeyId,
		Plaintext:         []byte("hello"),
		EncryptionContext: map[string]string{"purpose": "example"},
	})
	if err != nil {
		log.Fatal(err)
	}
	decrypted, err := client.Decrypt(ctx, &kms.DecryptInput{
		CiphertextBlob:    encrypted.CiphertextBlob,
		EncryptionContext: map[string]string{"purpose": "example"},
	})
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println(string(decrypted.Plaintext))

	// Output:
	// 111122223333 SYMMETRIC_DEFAULT Enabled
	// hello
}
