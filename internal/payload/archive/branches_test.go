package archive_test

import (
	"bytes"
	"math/rand/v2"
	"os"
	"testing"

	"github.com/boxyard/boxyard/internal/payload/archive"
)

func TestBranchesAreInverses(t *testing.T) {
	program, err := os.ReadFile("/proc/self/exe")
	if err != nil {
		t.Fatal(err)
	}
	random := rand.New(rand.NewPCG(1, 2))
	noise := make([]byte, 1<<16)
	for i := range noise {
		// Dense in opcodes and prefixes, so that operands hold opcodes too.
		noise[i] = []byte{0xe8, 0xe9, 0x48, 0x4c, 0x8d, 0x8b, 0x05, 0xff, byte(random.Uint32())}[random.IntN(9)]
	}
	inputs := map[string][]byte{"nothing": nil, "program": program, "noise": noise}
	for n := range 9 {
		inputs[string(rune('0'+n))+" bytes"] = bytes.Repeat([]byte{0xe8}, n)
	}
	for name, input := range inputs {
		t.Run(name, func(t *testing.T) {
			code := bytes.Clone(input)
			archive.EncodeBranches(code)
			archive.DecodeBranches(code)
			if !bytes.Equal(code, input) {
				t.Error("decoding does not give back what was encoded")
			}
		})
	}
}

// Calls of one function from two places must look the same: this is what the filter is for.
func TestEncodeBranchesMakesCallsOfOneTargetEqual(t *testing.T) {
	code := make([]byte, 64)
	copy(code[8:], []byte{0xe8, 32 - 13, 0, 0, 0})
	copy(code[20:], []byte{0xe8, 32 - 25, 0, 0, 0})
	archive.EncodeBranches(code)
	if want := []byte{0xe8, 32, 0, 0, 0}; !bytes.Equal(code[8:13], want) || !bytes.Equal(code[20:25], want) {
		t.Errorf("calls of position 32 became % x and % x, want % x", code[8:13], code[20:25], want)
	}
}
