namespace Broker.Delivery;

/// <summary>A message for Redis: the channel and an encoded <c>broker.v1.LiveBatch</c>.</summary>
/// <param name="Channel">The channel.</param>
/// <param name="Message">The LiveBatch.</param>
/// <param name="Topic">Its topic.</param>
/// <param name="BaseOffset">Its first offset.</param>
/// <param name="Count">Its records.</param>
/// <param name="BatchBytes">The bytes of its batch, with which the message ends; 0 when it has none.</param>
internal readonly record struct LiveFrame(
    string Channel, byte[] Message, string Topic, long BaseOffset, int Count, int BatchBytes)
{
    public ReadOnlySpan<byte> Batch => Message.AsSpan(Message.Length - BatchBytes);
}
