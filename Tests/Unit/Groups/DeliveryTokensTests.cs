using Broker.Domain;
using Broker.Groups;
using Xunit;

namespace Broker.Tests.Unit.Groups;

/// <summary>Tokens are taken as they were given out, and in no other form.</summary>
public sealed class DeliveryTokensTests
{
    private static readonly DeliveryToken Usual = new(
        17, 2, 9, (5L << 36) + 123, 1_795_000_000_000, 3, new OffsetRange(1_000_000, 1_000_040));

    [Fact]
    public void A_token_is_read_as_it_was_written()
    {
        Assert.True(DeliveryTokens.TryDecode(Encode(), out var shard, out var group, out var token));
        Assert.Equal((new GroupId(3), 42, Usual), (shard, group, token));
    }

    [Fact]
    public void The_largest_one_that_there_can_be_is_within_the_limit()
    {
        // A log of 2^48 records, a term of 2^32, and as many groups, topics and seeks as there are numbers.
        var largest = new DeliveryToken(
            int.MaxValue,
            int.MaxValue,
            1L << 32,
            (1L << 56) - 1,
            (1L << 44) - 1,
            Limits.GroupDeliveries,
            new OffsetRange((1L << 48) - 1_000, 1L << 48));
        var bytes = DeliveryTokens.Encode(new GroupId(1_000), int.MaxValue, largest);
        Assert.InRange(bytes.Length, 1, Limits.DeliveryTokenBytes);
        Assert.True(DeliveryTokens.TryDecode(bytes, out _, out _, out var read));
        Assert.Equal(largest, read);
    }

    [Fact]
    public void One_that_was_cut_lengthened_or_changed_in_any_bit_is_none()
    {
        var bytes = Encode();
        for (var length = 0; length < bytes.Length; length++)
        {
            Assert.False(DeliveryTokens.TryDecode(bytes.AsSpan(0, length), out _, out _, out _));
        }

        Assert.False(DeliveryTokens.TryDecode([.. bytes, 0], out _, out _, out _));
        Assert.False(DeliveryTokens.TryDecode(new byte[Limits.DeliveryTokenBytes + 1], out _, out _, out _));
        for (var bit = 0; bit < 8 * bytes.Length; bit++)
        {
            var garbled = bytes.ToArray();
            garbled[bit / 8] ^= (byte)(1 << (bit % 8));
            Assert.False(DeliveryTokens.TryDecode(garbled, out _, out _, out _));
        }
    }

    private static byte[] Encode() => DeliveryTokens.Encode(new GroupId(3), 42, Usual);
}
