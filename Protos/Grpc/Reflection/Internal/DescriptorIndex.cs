using Google.Protobuf.Reflection;
using Grpc.Core;
using Grpc.Reflection.V1;

namespace Grpc.Reflection.Internal;

/// <summary>
/// Finds .proto files by name, by symbol and by extension, among those of the services and their imports.
/// </summary>
internal sealed class DescriptorIndex
{
    private readonly string[] _services;
    private readonly Dictionary<string, FileDescriptor> _files = [];
    private readonly Dictionary<string, FileDescriptor> _symbols = [];
    private readonly Dictionary<string, SortedDictionary<int, FileDescriptor>> _extensions = [];

    public DescriptorIndex(IEnumerable<ServiceDescriptor> services)
    {
        var all = services.ToList();
        _services = [.. all.Select(service => service.FullName).Distinct().Order(StringComparer.Ordinal)];
        foreach (var service in all)
        {
            AddFile(service.File);
        }
    }

    public ServerReflectionResponse Answer(ServerReflectionRequest request)
    {
        var response = new ServerReflectionResponse { ValidHost = request.Host, OriginalRequest = request };
        switch (request.MessageRequestCase)
        {
            case ServerReflectionRequest.MessageRequestOneofCase.ListServices:
                var services = _services.Select(name => new ServiceResponse { Name = name });
                response.ListServicesResponse = new ListServiceResponse { Service = { services } };
                break;
            case ServerReflectionRequest.MessageRequestOneofCase.FileByFilename:
                Show(response, _files.GetValueOrDefault(request.FileByFilename), request.FileByFilename);
                break;
            case ServerReflectionRequest.MessageRequestOneofCase.FileContainingSymbol:
                Show(response, _symbols.GetValueOrDefault(request.FileContainingSymbol), request.FileContainingSymbol);
                break;
            case ServerReflectionRequest.MessageRequestOneofCase.FileContainingExtension:
                var wanted = request.FileContainingExtension;
                var numbers = _extensions.GetValueOrDefault(wanted.ContainingType);
                var file = numbers?.GetValueOrDefault(wanted.ExtensionNumber);
                Show(response, file, $"{wanted.ContainingType}, extension {wanted.ExtensionNumber}");
                break;
            case ServerReflectionRequest.MessageRequestOneofCase.AllExtensionNumbersOfType:
                ShowExtensions(response, request.AllExtensionNumbersOfType);
                break;
            default:
                Refuse(response, StatusCode.InvalidArgument, "The request asks for nothing that this server knows.");
                break;
        }

        return response;
    }

    private static void Show(ServerReflectionResponse response, FileDescriptor? file, string what)
    {
        if (file is null)
        {
            Refuse(response, StatusCode.NotFound, $"Not found: {what}");
            return;
        }

        var all = new List<FileDescriptor>();
        Gather(file, all);
        response.FileDescriptorResponse = new FileDescriptorResponse
        {
            FileDescriptorProto = { all.Select(f => f.SerializedData) },
        };
    }

    /// <summary>The file first, then what it imports: some clients take the first for the answer.</summary>
    private static void Gather(FileDescriptor file, List<FileDescriptor> into)
    {
        if (into.Contains(file))
        {
            return;
        }

        into.Add(file);
        foreach (var import in file.Dependencies)
        {
            Gather(import, into);
        }
    }

    private static void Refuse(ServerReflectionResponse response, StatusCode code, string message) =>
        response.ErrorResponse = new ErrorResponse { ErrorCode = (int)code, ErrorMessage = message };

    private void ShowExtensions(ServerReflectionResponse response, string type)
    {
        if (!_symbols.ContainsKey(type))
        {
            Refuse(response, StatusCode.NotFound, $"Not found: {type}");
            return;
        }

        var numbers = _extensions.GetValueOrDefault(type)?.Keys ?? Enumerable.Empty<int>();
        response.AllExtensionNumbersResponse = new ExtensionNumberResponse
        {
            BaseTypeName = type,
            ExtensionNumber = { numbers },
        };
    }

    private void AddFile(FileDescriptor file)
    {
        if (!_files.TryAdd(file.Name, file))
        {
            return;
        }

        foreach (var import in file.Dependencies)
        {
            AddFile(import);
        }

        foreach (var service in file.Services)
        {
            _symbols.TryAdd(service.FullName, file);
            AddSymbols(service.Methods, file);
        }

        foreach (var type in file.MessageTypes)
        {
            AddMessage(type);
        }

        foreach (var type in file.EnumTypes)
        {
            AddEnum(type);
        }

        AddExtensions(file.Extensions.UnorderedExtensions);
    }

    private void AddMessage(MessageDescriptor message)
    {
        _symbols.TryAdd(message.FullName, message.File);
        AddSymbols(message.Fields.InDeclarationOrder(), message.File);
        AddSymbols(message.Oneofs, message.File);
        AddExtensions(message.Extensions.UnorderedExtensions);
        foreach (var nested in message.NestedTypes)
        {
            AddMessage(nested);
        }

        foreach (var nested in message.EnumTypes)
        {
            AddEnum(nested);
        }
    }

    /// <summary>The values of an enum are its siblings, as in C++, not its children.</summary>
    private void AddEnum(EnumDescriptor type)
    {
        _symbols.TryAdd(type.FullName, type.File);
        var scope = type.FullName[..^type.Name.Length];
        foreach (var value in type.Values)
        {
            _symbols.TryAdd(scope + value.Name, type.File);
        }
    }

    private void AddExtensions(IList<FieldDescriptor> extensions)
    {
        foreach (var extension in extensions)
        {
            _symbols.TryAdd(extension.FullName, extension.File);
            var extended = extension.ExtendeeType.FullName;
            if (!_extensions.TryGetValue(extended, out var numbers))
            {
                _extensions[extended] = numbers = [];
            }

            numbers.TryAdd(extension.FieldNumber, extension.File);
        }
    }

    private void AddSymbols(IEnumerable<IDescriptor> symbols, FileDescriptor file)
    {
        foreach (var symbol in symbols)
        {
            _symbols.TryAdd(symbol.FullName, file);
        }
    }
}
