#include "textflag.h"

// As in enter_linux_amd64.s; numbers are those of asm-generic/unistd.h.
TEXT ·enter(SB), NOSPLIT|NOFRAME, $0-0
	MOVD RSP, R19            // argc, argv…, 0, envp…, 0
	MOVD $-100, R0           // openat(AT_FDCWD, argv[1], O_CLOEXEC)
	MOVD 16(R19), R1
	MOVD $0x80000, R2
	MOVD $0, R3
	MOVD $56, R8
	SVC
	CMP  $0, R0
	BLT  failed
	MOVD $0x40000000, R1     // setns(fd, CLONE_NEWNET)
	MOVD $268, R8
	SVC
	CMP  $0, R0
	BLT  failed
	MOVD 24(R19), R1
	MOVBU (R1), R2
	CBZ  R2, run
	SUB  $8192, R19, R20     // getcwd(buf, 4096)
	MOVD R20, R0
	MOVD $4096, R1
	MOVD $17, R8
	SVC
	CMP  $0, R0
	BLT  failed
	MOVD $-100, R0           // openat(AT_FDCWD, argv[2], O_CLOEXEC)
	MOVD 24(R19), R1
	MOVD $0x80000, R2
	MOVD $0, R3
	MOVD $56, R8
	SVC
	CMP  $0, R0
	BLT  failed
	MOVD $0x20000, R1        // setns(fd, CLONE_NEWNS), which goes to the root
	MOVD $268, R8
	SVC
	CMP  $0, R0
	BLT  failed
	MOVD R20, R0             // chdir(buf)
	MOVD $49, R8
	SVC
	CMP  $0, R0
	BLT  failed

run:
	MOVD 32(R19), R0         // execve(argv[3], argv+4, envp)
	ADD  $40, R19, R1
	MOVD (R19), R2
	LSL  $3, R2, R2
	ADD  R19, R2, R2
	ADD  $16, R2, R2
	MOVD $221, R8
	SVC
	MOVD $127, R21
	CMP  $-2, R0             // ENOENT
	BEQ  say
	MOVD $126, R21
	B    say

failed:
	MOVD $125, R21

say:
	MOVD 8(R19), R1          // write(2, argv[0], its length)
	MOVD R1, R2

length:
	MOVBU (R2), R3
	CBZ  R3, write
	ADD  $1, R2
	B    length

write:
	SUB  R1, R2, R2
	MOVD $2, R0
	MOVD $64, R8
	SVC
	MOVD R21, R0             // exit_group
	MOVD $94, R8
	SVC
	BRK

TEXT ·enterCode(SB), NOSPLIT, $0-8
	MOVD $·enter(SB), R0
	MOVD R0, ret+0(FP)
	RET
