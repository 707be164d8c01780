(module
  ;; Finds line breaks, 16 bytes at a step, and writes their positions as the index has them.
  ;; Memory: bytes from 0 to 65536, behind them the entries, 5 bytes each, as many as there can be.
  (memory (export "memory") 6)
  (func (export "scan") (param $length i32) (param $base i64) (result i32)
    (local $at i32) (local $mask i32) (local $out i32) (local $found i64) (local $end i32)
    (local.set $out (i32.const 65536))
    (block $done
      (loop $blocks
        (br_if $done (i32.ge_u (local.get $at) (local.get $length)))
        (local.set $mask
          (i8x16.bitmask (i8x16.eq (v128.load (local.get $at)) (i8x16.splat (i32.const 10)))))
        (if (local.get $mask)
          (then
            (local.set $end (i32.sub (local.get $length) (local.get $at)))
            (if (i32.lt_u (local.get $end) (i32.const 16))
              (then (local.set $mask (i32.and (local.get $mask)
                (i32.sub (i32.shl (i32.const 1) (local.get $end)) (i32.const 1))))))
            (block $none
              (loop $bits
                (br_if $none (i32.eqz (local.get $mask)))
                (local.set $found (i64.add (local.get $base)
                  (i64.extend_i32_u (i32.add (local.get $at) (i32.ctz (local.get $mask))))))
                (i32.store8 (local.get $out) (i32.wrap_i64 (i64.shr_u (local.get $found) (i64.const 32))))
                (i32.store8 offset=1 (local.get $out) (i32.wrap_i64 (i64.shr_u (local.get $found) (i64.const 24))))
                (i32.store8 offset=2 (local.get $out) (i32.wrap_i64 (i64.shr_u (local.get $found) (i64.const 16))))
                (i32.store8 offset=3 (local.get $out) (i32.wrap_i64 (i64.shr_u (local.get $found) (i64.const 8))))
                (i32.store8 offset=4 (local.get $out) (i32.wrap_i64 (local.get $found)))
                (local.set $out (i32.add (local.get $out) (i32.const 5)))
                (local.set $mask (i32.and (local.get $mask) (i32.sub (local.get $mask) (i32.const 1))))
                (br $bits)))))
        (local.set $at (i32.add (local.get $at) (i32.const 16)))
        (br $blocks)))
    (i32.div_u (i32.sub (local.get $out) (i32.const 65536)) (i32.const 5))))
