/** Messages that BIRD 2.0.12, FRR 8.4.4 and GoBGP 3.10.0 sent to each other, as captured on the wire, each once. */
export const capturedMessages: readonly {
  readonly from: 'bird' | 'frr' | 'gobgp';
  readonly type: string;
  readonly hex: string;
}[] = [
  { from: 'bird', type: 'KEEPALIVE', hex: 'ffffffffffffffffffffffffffffffff001304' },
  { from: 'bird', type: 'NOTIFICATION', hex: 'ffffffffffffffffffffffffffffffff001f03060209636172642073776170' },
  {
    from: 'bird',
    type: 'OPEN',
    hex: 'ffffffffffffffffffffffffffffffff00590104fc0000090a1400fe3c023a01040001000101040002000102000600400a0078000101000002010041040000fc004504000101014600470e00010100000e1000020100000e10',
  },
  { from: 'bird', type: 'ROUTE-REFRESH', hex: 'ffffffffffffffffffffffffffffffff00170500010001' },
  { from: 'bird', type: 'ROUTE-REFRESH', hex: 'ffffffffffffffffffffffffffffffff00170500020001' },
  {
    from: 'bird',
    type: 'UPDATE',
    hex: 'ffffffffffffffffffffffffffffffff003102000000144001010040020602010000fc004003040a1400fe0019c6120100',
  },
  {
    from: 'bird',
    type: 'UPDATE',
    hex: 'ffffffffffffffffffffffffffffffff005402000000394001010040020602010000fc004003040a1400fec00808fc000001ffff0000c010080002fc0000000007c0200c0000fc00000000010000000218c61200',
  },
  { from: 'bird', type: 'UPDATE', hex: 'ffffffffffffffffffffffffffffffff00170200000000' },
  {
    from: 'bird',
    type: 'UPDATE',
    hex: 'ffffffffffffffffffffffffffffffff005f0200000048900e003700020120fd200000000000000000000000000254fe80000000000000589446fffec398c500008020010db80002000000000000000000014001010040020602010000fc00',
  },
  {
    from: 'bird',
    type: 'UPDATE',
    hex: 'ffffffffffffffffffffffffffffffff005b0200000044900e002c00020120fd200000000000000000000000000254fe80000000000000589446fffec398c5003020010db800014001010240020602010000fc00c00804fc000009',
  },
  { from: 'bird', type: 'UPDATE', hex: 'ffffffffffffffffffffffffffffffff001d0200000006800f03000201' },
  {
    from: 'bird',
    type: 'UPDATE',
    hex: 'ffffffffffffffffffffffffffffffff003e02000000234001010040020a02020000fc000000fc014003040a140001c007080000fc010a14000118cb0071',
  },
  {
    from: 'bird',
    type: 'UPDATE',
    hex: 'ffffffffffffffffffffffffffffffff003902000000184001010040020a02020000fc000000fc014003040a14000120cb00710120cb007102',
  },
  { from: 'bird', type: 'UPDATE', hex: 'ffffffffffffffffffffffffffffffff001b02000418cb00710000' },
  {
    from: 'bird',
    type: 'UPDATE',
    hex: 'ffffffffffffffffffffffffffffffff003402000000184001010040020a02020000fc000000fc014003040a14000120cb007101',
  },
  { from: 'bird', type: 'UPDATE', hex: 'ffffffffffffffffffffffffffffffff001c02000520cb0071010000' },
  {
    from: 'bird',
    type: 'UPDATE',
    hex: 'ffffffffffffffffffffffffffffffff003402000000184001010040020a02020000fc000000fc014003040a14000120cb007102',
  },
  {
    from: 'bird',
    type: 'UPDATE',
    hex: 'ffffffffffffffffffffffffffffffff004202000000274001010040020e02030000fc00fa56ea010000fc014003040a140002c007080000fc010a14000118cb0071',
  },
  {
    from: 'bird',
    type: 'UPDATE',
    hex: 'ffffffffffffffffffffffffffffffff0038020000001c4001010040020e02030000fc00fa56ea010000fc014003040a14000220cb007101',
  },
  { from: 'bird', type: 'UPDATE', hex: 'ffffffffffffffffffffffffffffffff001c02000520cb0071020000' },
  { from: 'bird', type: 'UPDATE', hex: 'ffffffffffffffffffffffffffffffff002502000e18cb007120cb00710120cb0071020000' },
  { from: 'frr', type: 'NOTIFICATION', hex: 'ffffffffffffffffffffffffffffffff001c030602066d6f76696e67' },
  {
    from: 'frr',
    type: 'OPEN',
    hex: 'ffffffffffffffffffffffffffffffff00790104fc0100b40a1400015c02060104000100010206010400020001020280000202020002024600020641040000fc0102020600020a450800010101000201010206490402766d00020c400ac07800010100000201000210470e0001018000000000020180000000',
  },
  {
    from: 'frr',
    type: 'OPEN',
    hex: 'ffffffffffffffffffffffffffffffff00790104fc0100090a1400015c02060104000100010206010400020001020280000202020002024600020641040000fc0102020600020a450800010101000201010206490402766d00020c400ac07800010100000201000210470e0001018000000000020180000000',
  },
  {
    from: 'frr',
    type: 'OPEN',
    hex: 'ffffffffffffffffffffffffffffffff00620104fc0100b40a140001450206010400010001020280000202020002024600020641040000fc010202060002064504000101010206490402766d0002084006c078000101000209470700010180000000',
  },
  { from: 'frr', type: 'ROUTE-REFRESH', hex: 'ffffffffffffffffffffffffffffffff00170500010101' },
  { from: 'frr', type: 'ROUTE-REFRESH', hex: 'ffffffffffffffffffffffffffffffff00170500020101' },
  { from: 'frr', type: 'ROUTE-REFRESH', hex: 'ffffffffffffffffffffffffffffffff00170500020201' },
  { from: 'frr', type: 'ROUTE-REFRESH', hex: 'ffffffffffffffffffffffffffffffff00170500010201' },
  {
    from: 'frr',
    type: 'UPDATE',
    hex: 'ffffffffffffffffffffffffffffffff00360200000019400101005002000a02020000fc010000fc004003040a1400010019c6120100',
  },
  {
    from: 'frr',
    type: 'UPDATE',
    hex: 'ffffffffffffffffffffffffffffffff0064020000004d900e003700020120fd200000000000000000000000000001fe8000000000000078aaa2fffeaeb06d00008020010db8000200000000000000000001400101005002000a02020000fc010000fc00',
  },
  {
    from: 'frr',
    type: 'UPDATE',
    hex: 'ffffffffffffffffffffffffffffffff0059020000003e400101005002000a02020000fc010000fc004003040a140001c00808fc000001ffff0000c0200c0000fc000000000100000002c010080002fc000000000718c61200',
  },
  {
    from: 'frr',
    type: 'UPDATE',
    hex: 'ffffffffffffffffffffffffffffffff00600200000049900e002c00020120fd200000000000000000000000000001fe8000000000000078aaa2fffeaeb06d003020010db80001400101025002000a02020000fc010000fc00c00804fc000009',
  },
  {
    from: 'frr',
    type: 'UPDATE',
    hex: 'ffffffffffffffffffffffffffffffff00420200000027400101005002000602010000fc014003040a14000180040400000000c007080000fc010a14000118cb0071',
  },
  {
    from: 'frr',
    type: 'UPDATE',
    hex: 'ffffffffffffffffffffffffffffffff003d020000001c400101005002000602010000fc014003040a1400018004040000000020cb00710120cb007102',
  },
  {
    from: 'frr',
    type: 'UPDATE',
    hex: 'ffffffffffffffffffffffffffffffff0038020000001c400101005002000602010000fc014003040a1400018004040000000020cb007102',
  },
  {
    from: 'frr',
    type: 'UPDATE',
    hex: 'ffffffffffffffffffffffffffffffff00360200000019400101005002000a02020000fc010000fc004003040a1400fe0019c6120100',
  },
  {
    from: 'frr',
    type: 'UPDATE',
    hex: 'ffffffffffffffffffffffffffffffff0059020000003e400101005002000a02020000fc010000fc004003040a1400fec00808fc000001ffff0000c0200c0000fc000000000100000002c010080002fc000000000718c61200',
  },
  { from: 'frr', type: 'UPDATE', hex: 'ffffffffffffffffffffffffffffffff002102000a0018c6120019c61201000000' },
  { from: 'gobgp', type: 'NOTIFICATION', hex: 'ffffffffffffffffffffffffffffffff00220306020c7261636b2034206d6f766573' },
  {
    from: 'gobgp',
    type: 'OPEN',
    hex: 'ffffffffffffffffffffffffffffffff004101045ba0005a0a1400022402220200490402766d000104000100010104000200014104fa56ea010506000100010002',
  },
  {
    from: 'gobgp',
    type: 'OPEN',
    hex: 'ffffffffffffffffffffffffffffffff003b01045ba0005a0a1400021e021c0200490402766d000104000100014104fa56ea010506000100010002',
  },
  {
    from: 'gobgp',
    type: 'UPDATE',
    hex: 'ffffffffffffffffffffffffffffffff00530200000038400101024002180203fa56ea0100000001000000020102000000030000000480040400000005c0080800640064ffffff014003040a14000218cb0072',
  },
  {
    from: 'gobgp',
    type: 'UPDATE',
    hex: 'ffffffffffffffffffffffffffffffff0054020000003d400101024002060201fa56ea01800e1e0002011000000000000000000000ffff0a140002004020010db800090000c0200c000000010000000200000003',
  },
  {
    from: 'gobgp',
    type: 'UPDATE',
    hex: 'ffffffffffffffffffffffffffffffff003e02000000234001010040020a0202fa56ea010000fc014003040a140002c007080000fc010a14000118cb0071',
  },
  {
    from: 'gobgp',
    type: 'UPDATE',
    hex: 'ffffffffffffffffffffffffffffffff003402000000184001010040020a0202fa56ea010000fc014003040a14000220cb007101',
  },
  {
    from: 'gobgp',
    type: 'UPDATE',
    hex: 'ffffffffffffffffffffffffffffffff003402000000184001010040020a0202fa56ea010000fc014003040a14000220cb007102',
  },
  {
    from: 'gobgp',
    type: 'UPDATE',
    hex: 'ffffffffffffffffffffffffffffffff003902000000184001010040020a0202fa56ea010000fc014003040a14000220cb00710120cb007102',
  },
  { from: 'gobgp', type: 'UPDATE', hex: 'ffffffffffffffffffffffffffffffff001b02000418cb00720000' },
  {
    from: 'gobgp',
    type: 'UPDATE',
    hex: 'ffffffffffffffffffffffffffffffff0026020000000f800f0c0002014020010db800090000',
  },
  {
    from: 'gobgp',
    type: 'UPDATE',
    hex: 'ffffffffffffffffffffffffffffffff003502000000184001010040020a0202fa56ea010000fc004003040a1400020019c6120100',
  },
  {
    from: 'gobgp',
    type: 'UPDATE',
    hex: 'ffffffffffffffffffffffffffffffff0058020000003d4001010040020a0202fa56ea010000fc004003040a140002c00808fc000001ffff0000c010080002fc0000000007c0200c0000fc00000000010000000218c61200',
  },
  { from: 'gobgp', type: 'UPDATE', hex: 'ffffffffffffffffffffffffffffffff0018020001000000' },
  { from: 'gobgp', type: 'UPDATE', hex: 'ffffffffffffffffffffffffffffffff001c02000519c61201000000' },
  { from: 'gobgp', type: 'UPDATE', hex: 'ffffffffffffffffffffffffffffffff001b02000418c612000000' },
];
