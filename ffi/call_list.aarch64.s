// The loop of call_list.ts for arm64, with the flags that call_list.x86_64.s names.
// x0: the first call, x1: the number of calls. The kernel changes only x0:
// syscall(2).
        stp     x19, x20, [sp, #-32]!
        str     x21, [sp, #16]
        mov     x19, x0                 // this call
        mov     x20, x0                 // the first call
        mov     x21, x1                 // how many are left
next:   cbz     x21, done
        ldp     x9, x0, [x19]
        tbz     x9, #32, 1f
        ldr     x0, [x20, #56]
1:      ldp     x1, x2, [x19, #16]
        ldp     x3, x4, [x19, #32]
        ldr     x5, [x19, #48]
        mov     w8, w9
        svc     #0
        str     x0, [x19, #56]
        ldr     x9, [x19], #64
        sub     x21, x21, #1
        tbnz    x9, #33, next
        tbnz    x0, #63, done
        cbnz    x0, next
        tbz     x9, #34, next
done:   ldr     x21, [sp, #16]
        ldp     x19, x20, [sp], #32
        ret
