# The loop of call_list.ts for x86-64: as call_list.x86_64.s -o loop.o && objcopy -O
# binary -j .text loop.o loop.bin %rdi: the first call, %rsi: the number of calls.
# The kernel changes only %rax, %rcx and %r11: syscall(2).
        push    %rbx
        push    %r12
        push    %r13
        mov     %rdi, %rbx              # this call
        mov     %rdi, %r12              # the first call
        mov     %rsi, %r13              # how many are left
next:   test    %r13, %r13
        jz      done
        mov     (%rbx), %rax
        mov     8(%rbx), %rdi
        bt      $32, %rax               # FROM_FIRST
        jnc     1f
        mov     56(%r12), %rdi
1:      mov     16(%rbx), %rsi
        mov     24(%rbx), %rdx
        mov     32(%rbx), %r10
        mov     40(%rbx), %r8
        mov     48(%rbx), %r9
        mov     %eax, %eax              # the number without the flags
        syscall
        mov     %rax, 56(%rbx)
        mov     (%rbx), %rcx
        add     $64, %rbx
        dec     %r13
        bt      $33, %rcx               # MAY_FAIL
        jc      next
        test    %rax, %rax
        js      done
        jnz     next
        bt      $34, %rcx               # NOT_ZERO
        jnc     next
done:   pop     %r13
        pop     %r12
        pop     %rbx
        ret
