package archive_test

import "testing"

func TestFiles(t *testing.T) {
	e := newEnv(t)
	if n := e.archive.Newest(); n != 0 {
		t.Errorf("Newest() = %d of an archive without files", n)
	}
	more := e.archive.Changed()
	for range 3 {
		e.write(accountA, region, 2)
		e.write(accountB, other, 1)
		e.deliver()
	}
	select {
	case <-more:
	default:
		t.Error("Changed() is not closed by a delivery")
	}
	if n := e.archive.Newest(); n != 6 {
		t.Errorf("Newest() = %d, want 6", n)
	}
	var numbers []uint64
	for after, limit := uint64(0), 4; ; {
		files, err := e.archive.Files(after, limit)
		if err != nil {
			t.Fatal(err)
		}
		if len(files) == 0 {
			break
		}
		if len(files) > limit {
			t.Fatalf("%d files, want up to %d", len(files), limit)
		}
		for _, f := range files {
			numbers = append(numbers, f.Number)
		}
		after = files[len(files)-1].Number
	}
	for i, n := range numbers {
		if n != uint64(i+1) {
			t.Errorf("Files() in pages: %d, want 1 to 6", numbers)
			break
		}
	}
	if len(numbers) != 6 {
		t.Errorf("Files() in pages: %d, want 1 to 6", numbers)
	}
}
