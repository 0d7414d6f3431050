using System.Text;
using System.Text.Json.Serialization;
using Broker.Client;
using Broker.Protocol.V1;
using Xunit;

namespace Broker.Tests.Unit.Client;

/// <summary>Values become messages, and messages values.</summary>
public sealed partial class SerializerTests
{
    [Fact]
    public void Generated_code_writes_and_reads_what_its_context_knows_and_nothing_else()
    {
        var serializer = new MessageSerializer(Generated.Default);

        var body = serializer.Serialize(new Order("42", 3));

        Assert.Equal("""{"order_id":"42","count":3}""", Encoding.UTF8.GetString(body.Value.Span));
        Assert.Equal("application/json", body.ContentType);
        Assert.Equal(new Order("42", 3), serializer.Deserialize<Order>(body.Value));
        var unknown = Assert.Throws<NotSupportedException>(() => serializer.Serialize(new Unknown(1)));
        Assert.Contains(nameof(Unknown), unknown.Message, StringComparison.Ordinal);
    }

    [Fact]
    public void Without_a_context_it_is_the_web_s_JSON_by_reflection()
    {
        var body = MessageSerializer.Default.Serialize(new Order("42", 3));

        Assert.Equal("""{"orderId":"42","count":3}""", Encoding.UTF8.GetString(body.Value.Span));
        Assert.Equal(
            new Order("42", 3),
            MessageSerializer.Default.Deserialize<Order>("""{"OrderId":"42","COUNT":3}"""u8.ToArray()));
    }

    [Fact]
    public void Bytes_texts_and_protobuf_are_themselves()
    {
        var serializer = new MessageSerializer(Generated.Default);

        Assert.Equal([1, 0, 255], serializer.Deserialize<byte[]>(serializer.Serialize<byte[]>([1, 0, 255]).Value));
        Assert.Equal("ö", serializer.Deserialize<string>(serializer.Serialize("ö").Value));
        var group = new CreateGroupRequest { Name = "g" };
        Assert.Equal("application/x-protobuf", serializer.Serialize(group).ContentType);
        Assert.Equal(group, serializer.Deserialize<CreateGroupRequest>(serializer.Serialize(group).Value));
        Assert.Throws<FormatException>(() => serializer.Deserialize<string>(new byte[] { 0xff }));
        Assert.Throws<FormatException>(() => serializer.Deserialize<Order>("null"u8.ToArray()));
        Assert.Throws<FormatException>(() => serializer.Deserialize<Order>("{"u8.ToArray()));
    }

    public sealed record Order(string OrderId, int Count);

    public sealed record Unknown(int X);

    [JsonSourceGenerationOptions(PropertyNamingPolicy = JsonKnownNamingPolicy.SnakeCaseLower)]
    [JsonSerializable(typeof(Order))]
    private sealed partial class Generated : JsonSerializerContext;
}
