namespace Broker.Delivery;

/// <summary>A message for Redis: the channel and an encoded <c>broker.v1.LiveBatch</c>.</summary>
internal readonly record struct LiveFrame(string Channel, byte[] Message);
