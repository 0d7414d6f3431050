using Broker.Protocol.V1;
using Broker.Topics;
using Google.Protobuf;
using Google.Protobuf.Reflection;
using Xunit;
using Record = Broker.Protocol.V1.Record;
using Wire = Broker.Protocol.Wire;

namespace Broker.Tests.Unit.Protos;

/// <summary>
/// The wire contract agrees with the public one, keeps its numbers, and explains itself.
/// </summary>
public sealed class ContractTests
{
    private const string BatchType = "broker.v1.RecordBatch";

    private static readonly FileDescriptor Public = BrokerReflection.Descriptor;

    private static readonly FileDescriptor OnTheWire = Wire.BrokerReflection.Descriptor;

    [Fact]
    public void Both_files_have_the_same_services_and_methods() =>
        Assert.Equal(Methods(Public), Methods(OnTheWire));

    [Fact]
    public void Both_files_have_the_same_messages_besides_the_batch()
    {
        var inBatch = new[] { "broker.v1.Header", "broker.v1.Record", BatchType };
        Assert.Equal(
            Public.MessageTypes.Select(message => message.FullName).Except(inBatch).Order(),
            OnTheWire.MessageTypes.Select(message => message.FullName).Order());
    }

    [Fact]
    public void Both_files_have_the_same_fields_where_a_batch_is_bytes() =>
        Assert.Equal(
            Public.MessageTypes.Where(IsOnTheWire).SelectMany(Fields).Order(),
            OnTheWire.MessageTypes.SelectMany(Fields).Order());

    [Fact]
    public void Both_files_have_the_same_enums() => Assert.Equal(Values(Public), Values(OnTheWire));

    [Fact]
    public void What_is_on_disks_and_in_old_clients_keeps_its_numbers()
    {
        // A published batch is stored as it came. These never change; new fields get new numbers.
        string[] kept =
        [
            "broker.v1.Header.name = 1 String", "broker.v1.Header.value = 2 Bytes",
            "broker.v1.PublishRequest.batch = 2 Bytes", "broker.v1.PublishRequest.producer = 3 Message",
            "broker.v1.PublishRequest.topic = 1 String", "broker.v1.ReadRequest.follow = 4 Bool",
            "broker.v1.ReadRequest.max_records = 5 UInt32", "broker.v1.ReadRequest.offset = 2 Int64",
            "broker.v1.ReadRequest.position = 3 Enum", "broker.v1.ReadRequest.topic = 1 String",
            "broker.v1.Record.deliver_at_unix_ms = 5 Int64", "broker.v1.Record.headers = 3 Message",
            "broker.v1.Record.key = 1 Bytes", "broker.v1.Record.ttl_ms = 4 UInt64", "broker.v1.Record.value = 2 Bytes",
            "broker.v1.RecordBatch.records = 1 Message", "broker.v1.StoredBatch.base_offset = 1 Int64",
            "broker.v1.StoredBatch.batch = 3 Bytes", "broker.v1.StoredBatch.count = 4 UInt32",
            "broker.v1.StoredBatch.timestamp_unix_ms = 2 Int64",
        ];

        var now = Public.MessageTypes.SelectMany(message => message.Fields.InDeclarationOrder())
            .Select(field => $"{field.FullName} = {field.FieldNumber} {TypeOf(field)}")
            .ToHashSet();
        Assert.All(kept, field => Assert.Contains(field, now));
    }

    /// <summary>The wire file repeats the public one.</summary>
    [Fact]
    public void Every_declaration_of_the_public_files_is_explained()
    {
        var silent = ProtoFile.All()
            .Where(file => file.Path != "wire/broker.proto")
            .SelectMany(file => file.Declarations.Select(each => (file.Path, Declaration: each)))
            .Where(each => each.Declaration.Kind is not (ProtoFile.Kind.Block or ProtoFile.Kind.Reserved))
            .Where(each => each.Declaration.Comment.Length == 0)
            .Select(each => $"{each.Path}: {each.Declaration.FullName}");
        Assert.Empty(silent);
    }

    /// <summary>protoc knows "optional" in proto3 since 3.15; that of Debian's python3-grpc-tools is older.</summary>
    [Fact]
    public void No_field_needs_a_new_protoc() => Assert.Empty(
        from file in new[] { Public, AdminReflection.Descriptor, PeerReflection.Descriptor, LiveReflection.Descriptor }
        from message in file.MessageTypes
        from field in message.Fields.InDeclarationOrder()
        where field.ContainingOneof is { IsSynthetic: true }
        select field.FullName);

    [Fact]
    public void The_files_are_read_as_protoc_reads_them()
    {
        FileDescriptor[] compiled = [Public, AdminReflection.Descriptor, PeerReflection.Descriptor];
        foreach (var file in compiled)
        {
            var declared = ProtoFile.Load(file.Name).Declarations;
            Assert.Equal(
                file.MessageTypes.SelectMany(message => message.Fields.InDeclarationOrder())
                    .Select(field => (field.FullName, field.FieldNumber)).Order(),
                declared.Where(each => each.Kind == ProtoFile.Kind.Field)
                    .Select(each => (each.FullName, each.Number)).Order());
            Assert.Equal(
                file.Services.SelectMany(service => service.Methods).Select(method => method.FullName).Order(),
                declared.Where(each => each.Kind == ProtoFile.Kind.Rpc).Select(each => each.FullName).Order());
        }
    }

    [Fact]
    public void No_number_is_used_twice_or_although_it_is_reserved() =>
        Assert.Empty(ProtoFile.All().SelectMany(file => file.Reuses()));

    [Theory]
    [InlineData("int32 a = 1; | int32 b = 2;", true)]
    [InlineData("int32 a = 1; | repeated B b = 1;", false)]
    [InlineData("oneof o { | int32 a = 1; | } | map<string, B> b = 1;", false)]
    [InlineData("reserved 3, 5 to 7; | int32 a = 4; | int32 b = 8;", true)]
    [InlineData("reserved 3, 5 to 7; | int32 a = 6;", false)]
    [InlineData("reserved 3, 5 to max; | int32 a = 600;", false)]
    [InlineData("reserved \"a\", \"b\"; | optional int64 b = 1;", false)]
    public void The_rule_for_numbers_finds_a_reuse(string members, bool clean)
    {
        var text = $"package p;\nmessage M {{\n{members.Replace(" | ", "\n", StringComparison.Ordinal)}\n}}";
        Assert.Equal(clean, !ProtoFile.Parse("p.proto", text).Reuses().Any());
    }

    [Fact]
    public void What_a_producer_encodes_the_node_reads_and_gives_on_byte_for_byte()
    {
        var sent = new PublishRequest
        {
            Topic = "orders.eu",
            Batch = new RecordBatch
            {
                Records =
                {
                    new Record { Key = ByteString.CopyFromUtf8("k"), Value = ByteString.CopyFromUtf8("1") },
                    new Record { Headers = { new Header { Name = "n", Value = ByteString.CopyFromUtf8("v") } } },
                },
            },
            Producer = new ProducerStamp { Id = 7, Epoch = 1, Sequence = 3 },
        };

        var read = Wire.PublishRequest.Parser.ParseFrom(sent.ToByteArray());
        Assert.Equal(sent.Batch.ToByteString(), read.Batch);
        Assert.Equal(2, RecordBatchScanner.Scan(read.Batch.Span).Count);
        Assert.Equal((null, null), (read.ExpectedOffset, read.Partition));

        var stored = new Wire.StoredBatch { BaseOffset = 5, TimestampUnixMs = 9, Batch = read.Batch, Count = 2 };
        var received = StoredBatch.Parser.ParseFrom(stored.ToByteArray());
        Assert.Equal(sent.Batch, received.Batch);
        Assert.Equal((5L, 9L, 2U), (received.BaseOffset, received.TimestampUnixMs, received.Count));
    }

    /// <summary>Delivery rests on this: a run of records is cut out of the stored bytes, not encoded anew.</summary>
    [Fact]
    public void A_run_of_an_encoded_batch_is_an_encoded_batch()
    {
        var batch = new RecordBatch();
        batch.Records.AddRange(Enumerable.Range(0, 5).Select(
            i => new Record { Value = ByteString.CopyFromUtf8($"{i}") }));
        var lengths = batch.Records.Select(record => new RecordBatch { Records = { record } }.CalculateSize()).ToList();

        var run = batch.ToByteArray().AsSpan(lengths[0] + lengths[1], lengths[2] + lengths[3]);
        Assert.Equal(batch.Records.Skip(2).Take(2), RecordBatch.Parser.ParseFrom(run).Records);
    }

    [Fact]
    public void Whatever_one_file_writes_the_other_reads_and_writes_the_same()
    {
        var random = new Random(1);
        foreach (var type in OnTheWire.MessageTypes)
        {
            var twin = Public.FindTypeByName<MessageDescriptor>(type.Name);
            for (var round = 0; round < 50; round++)
            {
                var written = Draw(type, random).ToByteArray();
                var byPublic = twin.Parser.ParseFrom(written);
                Assert.Equal(written, byPublic.ToByteArray());
                Assert.Equal(written, type.Parser.ParseFrom(byPublic.ToByteArray()).ToByteArray());
            }
        }
    }

    private static IMessage Draw(MessageDescriptor type, Random random)
    {
        var message = type.Parser.ParseFrom(ByteString.Empty);
        foreach (var field in type.Fields.InDeclarationOrder().Where(_ => random.Next(3) > 0))
        {
            if (field.IsRepeated)
            {
                var list = (System.Collections.IList)field.Accessor.GetValue(message);
                for (var i = random.Next(3); i > 0; i--)
                {
                    list.Add(DrawValue(field, random));
                }
            }
            else
            {
                field.Accessor.SetValue(message, DrawValue(field, random));
            }
        }

        return message;
    }

    private static object DrawValue(FieldDescriptor field, Random random) => field.FieldType switch
    {
        FieldType.Message when IsWrapper(field) => DrawValue(field.MessageType.FindFieldByName("value"), random),
        FieldType.Message => Draw(field.MessageType, random),
        FieldType.Bytes => DrawBatch(random).ToByteString(),
        FieldType.String => "é漢x"[..random.Next(4)],
        FieldType.Bool => random.Next(2) == 0,
        FieldType.Enum => random.Next(4),
        FieldType.UInt32 => (uint)random.Next(),
        FieldType.UInt64 => (ulong)random.NextInt64(),
        FieldType.Int64 => random.NextInt64(long.MinValue, long.MaxValue),
        _ => throw new InvalidOperationException($"{field.FullName} has a type that this test does not draw."),
    };

    private static RecordBatch DrawBatch(Random random)
    {
        var batch = new RecordBatch();
        for (var i = random.Next(3); i > 0; i--)
        {
            var key = ByteString.CopyFrom(new byte[random.Next(3)]);
            batch.Records.Add(new Record { Key = key, Value = ByteString.CopyFrom((byte)i) });
        }

        return batch;
    }

    private static bool IsOnTheWire(MessageDescriptor message) =>
        OnTheWire.FindTypeByName<MessageDescriptor>(message.Name) is not null;

    // C# gives the value of a wrapper itself, and null where it is absent.
    private static bool IsWrapper(FieldDescriptor field) => field.MessageType.File.Package == "google.protobuf";

    private static bool IsBatch(FieldDescriptor field) =>
        field.FieldType == FieldType.Message && field.MessageType.FullName == BatchType;

    private static FieldType TypeOf(FieldDescriptor field) => IsBatch(field) ? FieldType.Bytes : field.FieldType;

    private static IEnumerable<string> Methods(FileDescriptor file) =>
        from service in file.Services
        from method in service.Methods
        orderby method.FullName
        select $"{method.FullName}: {(method.IsClientStreaming ? "stream " : "")}{method.InputType.FullName} -> "
            + $"{(method.IsServerStreaming ? "stream " : "")}{method.OutputType.FullName}";

    private static IEnumerable<string> Fields(MessageDescriptor message) =>
        from field in message.Fields.InDeclarationOrder()
        let named = IsBatch(field) ? null : field.FieldType switch
        {
            FieldType.Message => field.MessageType.FullName,
            FieldType.Enum => field.EnumType.FullName,
            _ => null,
        }
        let optional = field.HasPresence && field.FieldType != FieldType.Message
        select $"{field.FullName} = {field.FieldNumber} {TypeOf(field)} {named} {(field.IsRepeated ? "repeated" : "")}"
            + $"{(optional ? "optional" : "")} {field.RealContainingOneof?.Name}";

    private static IEnumerable<string> Values(FileDescriptor file) =>
        from type in file.EnumTypes
        from value in type.Values
        orderby value.FullName
        select $"{type.FullName}.{value.Name} = {value.Number}";
}
