namespace Broker.Client.Publishing;

/// <summary>
/// The partition of a key, as broker.proto says (PublishRequest.partition): FNV-1a with 64 bits, finished with
/// MurmurHash3's fmix64, modulo the number of partitions.
/// </summary>
internal static class KeyPartition
{
    private const ulong OffsetBasis = 0xCBF29CE484222325;
    private const ulong Prime = 0x00000100000001B3;

    public static int Of(ReadOnlySpan<byte> key, int partitions)
    {
        var hash = OffsetBasis;
        foreach (var value in key)
        {
            hash = (hash ^ value) * Prime;
        }

        hash = (hash ^ (hash >> 33)) * 0xFF51AFD7ED558CCD;
        hash = (hash ^ (hash >> 33)) * 0xC4CEB9FE1A85EC53;
        return (int)((hash ^ (hash >> 33)) % (ulong)partitions);
    }
}
