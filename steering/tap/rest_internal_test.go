package tap

import (
	"encoding/hex"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// denial answers that x. has no A record: an SOA with serial 0x01020304, and OPT with a cookie.
const denial = "12348400" + "0001000000010001" + "017800" + "00010001" +
	"c00c" + "0006" + "0001" + "0000003c" + "0016" +
	"00" + "00" + "0102030400000001000000020000000300000004" +
	"00" + "0029" + "04d0" + "00000000" + "000c" + "000a0008" + "aabbccddeeff0011"

func TestWhatAnAnswerHoldsBesideTheTableIsTold(t *testing.T) {
	raw, err := hex.DecodeString(denial)
	if err != nil {
		t.Fatal(err)
	}
	got := string(restOf(raw).append(nil))
	if d := cmp.Diff(`,"serial":16909060,"cookie":"aabbccddeeff0011"`, got); d != "" {
		t.Errorf("-want +got:\n%s", d)
	}
	for n := range raw { // no cut makes it fail, nor a change of one octet
		restOf(raw[:n])
		other := append([]byte(nil), raw...)
		other[n] ^= 0xFF
		restOf(other)
	}
	answer := append([]byte(nil), raw...)
	answer[7], answer[9] = 1, 0 // the SOA was asked for: it is in the zone
	if r := restOf(answer); r.denied {
		t.Errorf("an SOA among the answers counts: %+v", r)
	}
}
