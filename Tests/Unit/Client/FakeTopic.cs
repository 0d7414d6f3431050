using Broker.Protocol.Wire;
using Record = Broker.Protocol.V1.Record;

namespace Broker.Tests.Unit.Client;

internal sealed class FakeTopic
{
    public long First { get; set; }

    public List<Record> Records { get; } = [];

    public List<StoredBatch> Batches { get; } = [];

    public Dictionary<ulong, (uint Epoch, ulong Next)> Producers { get; } = [];

    public Dictionary<(ulong Id, uint Epoch, ulong Sequence), long> Remembered { get; } = [];

    public long OffsetOf(ProducerStamp stamp) =>
        Remembered.GetValueOrDefault((stamp.Id, stamp.Epoch, stamp.Sequence), -1);
}
