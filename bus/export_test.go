package bus

import "time"

// MaskStats tells how many different bloom masks the matches on b have, how many places of the index
// have one, and the sum of how many masks have each bit.
func (b *Bus) MaskStats() (masks, places, bits int) {
	b.mu.RLock()
	defer b.mu.RUnlock()
	for _, under := range b.matches.places {
		places += len(under)
	}
	for _, n := range b.matches.common {
		bits += int(n)
	}
	return len(b.matches.masks), places, bits
}

// AgeClosing makes what waits to be closed on an account have waited for long.
func AgeClosing(payer Payer) {
	closers.mu.Lock()
	defer closers.mu.Unlock()
	closers.waiting[payer].since = time.Now().Add(-2 * closingPatience)
}
