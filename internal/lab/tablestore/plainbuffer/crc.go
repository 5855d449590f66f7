package plainbuffer

// polynomial is x⁸+x²+x+1, that of the vendor's clients.
const polynomial = 0x07

// tables[k][b] is what a byte b that k bytes follow adds to the checksum of
// these k+1 bytes: by them eight bytes are taken at a time.
var tables = func() (t [8][256]byte) {
	for i := range t[0] {
		c := byte(i)
		for range 8 {
			if c&0x80 != 0 {
				c = c<<1 ^ polynomial
			} else {
				c <<= 1
			}
		}
		t[0][i] = c
	}
	for k := 1; k < len(t); k++ {
		for i := range t[k] {
			t[k][i] = t[0][t[k-1][i]]
		}
	}
	return t
}()

// checksum continues crc over s.
func checksum[T string | []byte](crc byte, s T) byte {
	for len(s) >= 8 {
		crc = tables[7][crc^s[0]] ^ tables[6][s[1]] ^ tables[5][s[2]] ^ tables[4][s[3]] ^
			tables[3][s[4]] ^ tables[2][s[5]] ^ tables[1][s[6]] ^ tables[0][s[7]]
		s = s[8:]
	}
	for i := range len(s) {
		crc = tables[0][crc^s[i]]
	}
	return crc
}
